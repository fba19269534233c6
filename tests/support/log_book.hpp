#pragma once

#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <terrace/log.hpp>

namespace terrace::test {

/// Remembers what is logged.
class log_book {
public:
    /// For config::log. What it writes into is shared with the book.
    [[nodiscard]] log_function function() const
    {
        return [records = records_](const log_record& record) { records->push_back(record); };
    }

    [[nodiscard]] const std::vector<log_record>& records() const { return *records_; }
    /// The events of this level or above, in order, with a space between them.
    [[nodiscard]] std::string events(log_level least = log_level::warning) const
    {
        std::string names;
        for (const log_record& record : *records_)
            if (record.level >= least)
                names.append(names.empty() ? "" : " ").append(record.event);
        return names;
    }
    /// The latest of an event; throws std::runtime_error if there is none.
    [[nodiscard]] const log_record& latest(std::string_view event) const
    {
        for (auto it = records_->rbegin(); it != records_->rend(); ++it)
            if (it->event == event)
                return *it;
        throw std::runtime_error("not logged: " + std::string{event});
    }
    void forget() { records_->clear(); }

private:
    std::shared_ptr<std::vector<log_record>> records_ = std::make_shared<std::vector<log_record>>();
};

/// The value of a field; throws std::out_of_range if there is none.
template <class Value>
[[nodiscard]] const Value& field(const log_record& record, std::string_view name)
{
    for (const log_field& f : record.fields)
        if (f.name == name)
            return std::get<Value>(f.value);
    throw std::out_of_range("no field " + std::string{name});
}

} // namespace terrace::test
