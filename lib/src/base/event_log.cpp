#include "base/event_log.hpp"

#include <boost/asio/post.hpp>

namespace terrace {

event_log::event_log(asio::any_io_executor executor, std::shared_ptr<terrace::clock> clock, log_function sink)
    : executor_{std::move(executor)},
      clock_{std::move(clock)},
      sink_{sink ? std::make_shared<shared_sink>(std::move(sink)) : nullptr}
{
}

void event_log::hand_over(const log_event& what, log_text text)
{
    log_record record{what.level, clock_->now(),           what.component,
                      what.name,  std::move(text.message), std::move(text.fields)};
    asio::post(executor_, [sink = sink_, record = std::move(record)] {
        try {
            sink->call(record);
        } catch (...) {
            ++sink->lost;
        }
    });
}

std::string reason_of(const std::exception_ptr& error)
{
    try {
        std::rethrow_exception(error);
    } catch (const std::exception& e) {
        return e.what();
    } catch (...) {
        return "an exception of an unknown type";
    }
}

} // namespace terrace
