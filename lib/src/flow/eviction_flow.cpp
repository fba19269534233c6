#include "flow/eviction_flow.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace terrace {

void eviction_flow::on_pressure()
{
    if (!context_.stopping())
        context_.spawn([this](task_scope::task&) { return run(); });
}

asio::awaitable<void> eviction_flow::run()
{
    constexpr std::size_t objects_in_a_turn = 64;
    while (!context_.l1->evict_down_to(low_watermark_bytes_, objects_in_a_turn))
        co_await asio::post(context_.executor, asio::use_awaitable);
    context_.l1->eviction_done();
}

} // namespace terrace
