#include "flow/adapter_journal.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <iterator>
#include <utility>

#include <terrace/text_options.hpp>

namespace terrace {
namespace {

/// Durations are shown to the millisecond.
std::uint64_t in_milliseconds(nanoseconds duration)
{
    return static_cast<std::uint64_t>(std::chrono::round<std::chrono::milliseconds>(duration).count());
}

std::string shown(nanoseconds duration)
{
    return format_duration(std::chrono::round<std::chrono::milliseconds>(duration));
}

/// What stands behind a message that was held back for a while.
std::string since_last_said(std::uint64_t times, std::string_view what)
{
    return times > 1 ? fmt::format(" ({} {} since this was last said)", times, what) : std::string{};
}

} // namespace

std::string_view to_string(adapter_operation operation) noexcept
{
    constexpr std::array<std::string_view, adapter_operations> names{"lookup", "load", "store", "unlock", "erase"};
    return names[static_cast<std::size_t>(operation)];
}

adapter_journal::adapter_journal(event_log& log, adapter_id id, const l2_adapter& adapter) : log_{log}, id_{id}
{
    if (!log.wanted())
        return;
    const adapter_status self = adapter.status();
    name_ = self.name;
    corrupt_objects_ = self.corrupt_objects;
}

std::vector<log_field> adapter_journal::fields(std::vector<log_field> more) const
{
    std::vector<log_field> all{{"id", static_cast<std::uint32_t>(id_)}, {"adapter", name_}};
    std::ranges::move(more, std::back_inserter(all));
    return all;
}

// ---- coming and going ------------------------------------------------------------------------------------------

void adapter_journal::added(const adapter_status& self) const noexcept
{
    log_.write(log_events::adapter_added, [&] {
        std::string of_capacity;
        if (self.capacity_bytes != 0)
            of_capacity = " of " + format_bytes(self.capacity_bytes);
        return log_text{fmt::format("{} is in use: it holds {} objects, {}{}", name_, self.objects,
                                    format_bytes(self.used_bytes), of_capacity),
                        fields({{"objects", self.objects},
                                {"used_bytes", self.used_bytes},
                                {"capacity_bytes", self.capacity_bytes},
                                {"corrupt_objects", self.corrupt_objects}})};
    });
}

void adapter_journal::removed() const noexcept
{
    log_.write(log_events::adapter_removed, [&] {
        return log_text{fmt::format("{} is not used any more, and is closed once it is idle", name_), fields()};
    });
}

void adapter_journal::closed() const noexcept
{
    log_.write(log_events::adapter_closed, [&] { return log_text{fmt::format("{} is closed", name_), fields()}; });
}

void adapter_journal::close_failed(const std::exception_ptr& error) const noexcept
{
    log_.write(log_events::adapter_close_failed, [&] {
        const std::string reason = reason_of(error);
        return log_text{fmt::format("{} could not be closed as it should: {}", name_, reason),
                        fields({{"reason", reason}})};
    });
}

void adapter_journal::close_late(std::uint64_t calls, nanoseconds after) const noexcept
{
    log_.write(log_events::adapter_close_late, [&] {
        std::string what = "its close()";
        if (calls != 0)
            what = fmt::format("{} of its calls", calls);
        return log_text{
            fmt::format("{} is not closed after {}: {} goes on in the background", name_, shown(after), what),
            fields({{"calls", calls}, {"after_ms", in_milliseconds(after)}})};
    });
}

// ---- calls -----------------------------------------------------------------------------------------------------

void adapter_journal::failed(adapter_operation what, std::string_view reason, clock::time_point now) noexcept
{
    if (!wanted())
        return;
    const std::uint64_t times = of(what).failures.count(now);
    if (times == 0)
        return;
    log_.write(log_events::call_failed, [&] {
        return log_text{
            fmt::format("a {} in {} failed: {}{}", to_string(what), name_, reason, since_last_said(times, "failed")),
            fields({{"operation", std::string{to_string(what)}}, {"reason", std::string{reason}}, {"times", times}})};
    });
}

void adapter_journal::tripped(adapter_operation what, const breaker& open, std::uint32_t failures,
                              std::string_view reason, clock::time_point now) noexcept
{
    of(what).broken_since = now;
    log_.write(log_events::breaker_opened, [&] {
        return log_text{fmt::format("{}s in {} stop for {}: {} failed one after the other, the last one with: {}",
                                    to_string(what), name_, shown(open.cool_down()), failures, reason),
                        fields({{"operation", std::string{to_string(what)}},
                                {"reason", std::string{reason}},
                                {"failures", std::uint64_t{failures}},
                                {"cool_down_ms", in_milliseconds(open.cool_down())}})};
    });
}

void adapter_journal::probe_failed(adapter_operation what, const breaker& open, std::string_view reason) noexcept
{
    log_.write(log_events::probe_failed, [&] {
        return log_text{fmt::format("a {} in {} was tried and failed: {}; the next try comes in {}", to_string(what),
                                    name_, reason, shown(open.cool_down())),
                        fields({{"operation", std::string{to_string(what)}},
                                {"reason", std::string{reason}},
                                {"cool_down_ms", in_milliseconds(open.cool_down())}})};
    });
}

void adapter_journal::worked_again(adapter_operation what, clock::time_point now) noexcept
{
    log_.write(log_events::breaker_closed, [&] {
        const nanoseconds broken = now - of(what).broken_since;
        return log_text{fmt::format("{}s in {} work again, after {}", to_string(what), name_, shown(broken)),
                        fields({{"operation", std::string{to_string(what)}}, {"after_ms", in_milliseconds(broken)}})};
    });
}

void adapter_journal::look_for_damage(const adapter_status& self, clock::time_point now) noexcept
{
    const std::uint64_t before = std::exchange(corrupt_objects_, self.corrupt_objects);
    if (self.corrupt_objects <= before)
        return;
    const std::uint64_t objects = damage_.count(now, self.corrupt_objects - before);
    if (objects == 0)
        return;
    log_.write(log_events::objects_damaged, [&] {
        std::string latest;
        if (!self.problem.empty())
            latest = fmt::format("; its latest problem: {}", self.problem);
        return log_text{fmt::format("{} found {} objects damaged, and removed them, {} since its start{}", name_,
                                    objects, self.corrupt_objects, latest),
                        fields({{"objects", objects}, {"total", self.corrupt_objects}, {"problem", self.problem}})};
    });
}

// ---- stores ----------------------------------------------------------------------------------------------------

void adapter_journal::stores_failed(std::uint64_t objects, clock::time_point now) noexcept
{
    const std::uint64_t sum = wanted() ? failed_stores_.count(now, objects) : 0;
    if (sum == 0)
        return;
    log_.write(log_events::stores_failed, [&] {
        return log_text{fmt::format("{} could not store {} objects, however often it was tried", name_, sum),
                        fields({{"objects", sum}})};
    });
}

void adapter_journal::stores_dropped(std::uint64_t objects, std::string_view why, clock::time_point now) noexcept
{
    const std::uint64_t sum = wanted() ? dropped_stores_.count(now, objects) : 0;
    if (sum == 0)
        return;
    log_.write(log_events::stores_dropped, [&] {
        return log_text{fmt::format("{} objects are not stored in {}: {}", sum, name_, why),
                        fields({{"objects", sum}, {"reason", std::string{why}}})};
    });
}

} // namespace terrace
