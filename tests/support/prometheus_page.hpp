#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace terrace::test {

/// A page in Prometheus's text format, read by its rules: a family's HELP, then its TYPE, then its samples, together
/// and once.
struct prometheus_page {
    struct sample {
        std::string name; ///< the family's, with _bucket, _sum or _count behind it in a histogram
        std::map<std::string, std::string> labels;
        double value = 0;
    };
    struct family {
        std::string name;
        std::string help;
        std::string type;
        std::vector<sample> samples;
    };
    std::vector<family> families;

    /// Throws std::runtime_error that quotes the first line that breaks a rule.
    [[nodiscard]] static prometheus_page parse(std::string_view text);

    /// Null if there is none of this name.
    [[nodiscard]] const family* find(std::string_view name) const;
    /// The value of the one sample that has these labels, maybe besides others; throws std::runtime_error if there is
    /// none, or more than one.
    [[nodiscard]] double value(std::string_view name, const std::map<std::string, std::string>& labels = {}) const;
};

} // namespace terrace::test
