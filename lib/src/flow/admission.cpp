#include "flow/admission.hpp"

namespace terrace {

asio::awaitable<std::shared_ptr<admission_queue::share>>
admission_queue::admit(std::uint64_t bytes, load_class what, int priority, std::optional<clock::time_point> deadline)
{
    if (auto at_once = try_admit(bytes))
        co_return at_once;
    if (waiting_ >= limit_.waiting) {
        ++context_.counters.refused;
        co_return nullptr;
    }
    waiter me{*this, what, priority};
    bool late = false;
    clock::alarm alarm{*context_.clock, [&] {
                           late = true;
                           me.turn.wake().notify_all();
                       }};
    if (deadline)
        alarm.set(*deadline);
    while (&*line_.begin() != &me || !fits(bytes)) {
        context_.throw_if_stopping();
        if (late)
            co_return nullptr;
        co_await me.turn.wake().wait();
    }
    co_return std::make_shared<share>(*this, bytes);
}

} // namespace terrace
