#include "thread_io.hpp"

namespace terrace::io {

asio::awaitable<void> thread_io::run(std::span<transfer> transfers)
{
    const io_pool::work perform = [=](std::size_t i) { transfers[i].perform(); };
    co_await pool_.for_each(transfers.size(), 1, perform);
}

asio::awaitable<void> thread_io::run(std::size_t items, staged_work& work)
{
    const io_pool::work do_all = [&](std::size_t i) {
        if (std::optional<transfer> t = work.begin(i)) {
            t->perform();
            work.end(i, *t);
        }
    };
    co_await pool_.for_each(items, 1, do_all);
}

asio::awaitable<void> thread_io::for_each(std::size_t items, std::size_t grain, const io_pool::work& item)
{
    return pool_.for_each(items, grain, item);
}

asio::awaitable<void> thread_io::close()
{
    return pool_.close();
}

} // namespace terrace::io
