#include "flow/eviction_flow.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace terrace {
namespace {

constexpr std::size_t objects_in_a_turn = 64;

} // namespace

void eviction_flow::on_pressure()
{
    if (!context_.stopping())
        context_.spawn([this](task_scope::task&) { return run(); });
}

void eviction_flow::on_overdue()
{
    if (!context_.stopping())
        context_.spawn([this](task_scope::task&) { return drain_overdue(); });
}

asio::awaitable<void> eviction_flow::run()
{
    while (!context_.l1->evict_down_to(low_watermark_bytes_, objects_in_a_turn))
        co_await asio::post(context_.executor, asio::use_awaitable);
    context_.l1->eviction_done();
}

asio::awaitable<void> eviction_flow::drain_overdue()
{
    while (!context_.l1->evict_overdue(objects_in_a_turn))
        co_await asio::post(context_.executor, asio::use_awaitable);
}

} // namespace terrace
