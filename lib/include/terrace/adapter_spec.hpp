#pragma once

#include <string>
#include <string_view>

#include <terrace/api.hpp>
#include <terrace/text_options.hpp>

namespace terrace {

/// An adapter as text: how programs and configuration files name one.
///
///     type:place?option=value&option=value        memory:   file:/var/cache/terrace?capacity=20GiB
///
/// Every member that throws throws std::invalid_argument, which names the spec, the offending part and what was
/// expected.
class TERRACE_API adapter_spec : public text_options {
public:
    /// Throws if the text has no type, or an option is malformed or stands twice.
    [[nodiscard]] static adapter_spec parse(std::string_view text);

    [[nodiscard]] const std::string& text() const noexcept { return text_; }
    [[nodiscard]] const std::string& type() const noexcept { return type_; }
    [[nodiscard]] const std::string& place() const noexcept { return place_; }

    /// Throws with `what` about the place, which was `place()`.
    [[noreturn]] void reject_place(std::string_view what) const;

private:
    adapter_spec(std::string_view text, std::string_view type, std::string_view rest);

    std::string text_;
    std::string type_;
    std::string place_;
};

} // namespace terrace
