#include "flow/adapter_slot.hpp"

#include <algorithm>
#include <boost/asio/error.hpp>
#include <boost/system/system_error.hpp>

namespace terrace {

adapter_entry adapter_slot::status() const
{
    adapter_entry e;
    e.id = id_;
    e.self = adapter_->status();
    e.lookups = lookups;
    e.loads = loads;
    e.stores = stores;
    e.errors = errors;
    e.timeouts = timeouts;
    e.in_flight = in_flight;
    return e;
}

asio::awaitable<void> adapter_slot::idle()
{
    while (in_flight != 0)
        co_await changed_.wait();
}

std::shared_ptr<const adapter_list> adapter_set::snapshot() const
{
    std::scoped_lock guard{mutex_};
    return list_;
}

void adapter_set::add(std::shared_ptr<adapter_slot> slot)
{
    std::scoped_lock guard{mutex_};
    adapter_list grown{*list_};
    grown.push_back(std::move(slot));
    list_ = std::make_shared<const adapter_list>(std::move(grown));
}

std::shared_ptr<adapter_slot> adapter_set::take(adapter_id id)
{
    std::scoped_lock guard{mutex_};
    adapter_list rest{*list_};
    auto it = std::ranges::find(rest, id, &adapter_slot::id);
    if (it == rest.end())
        return nullptr;
    auto taken = *it;
    rest.erase(it);
    list_ = std::make_shared<const adapter_list>(std::move(rest));
    return taken;
}

adapter_call::adapter_call(std::shared_ptr<adapter_slot> slot, counter adapter_slot::*kind, clock& clock,
                           std::chrono::milliseconds timeout, task_scope::task& me, std::function<void()> on_timeout)
    : slot_{std::move(slot)}, me_{me}, on_timeout_{std::move(on_timeout)}, alarm_{clock, [this] {
                                                                                      ++slot_->timeouts;
                                                                                      if (on_timeout_)
                                                                                          on_timeout_();
                                                                                      me_.cancel();
                                                                                  }}
{
    ++((*slot_).*kind);
    ++slot_->in_flight;
    alarm_.set(clock.now() + timeout);
}

adapter_call::~adapter_call()
{
    --slot_->in_flight;
    if (slot_->in_flight == 0)
        slot_->changed_.notify_all();
}

void adapter_call::count_exception() noexcept
{
    try {
        throw;
    } catch (const boost::system::system_error& e) {
        if (e.code() != asio::error::operation_aborted)
            ++slot_->errors;
    } catch (...) {
        ++slot_->errors;
    }
}

} // namespace terrace
