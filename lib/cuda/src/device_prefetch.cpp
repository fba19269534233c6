#include <terrace/cuda/device_prefetch.hpp>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>
#include <deque>
#include <fmt/format.h>
#include <stdexcept>

namespace terrace::cuda {
namespace {

/// One call of scatter_prefetch(). It is a coroutine of its own: cancelling the caller must not unwind it, as it has to
/// wait for the device.
struct feed {
    feed(transfer_engine& e, prefetch_handle p, page_layout l, object_layout o, std::vector<paged_chunk> c,
         std::size_t w)
        : engine{e},
          prefetch{std::move(p)},
          pages{std::move(l)},
          objects{o},
          chunks{std::move(c)},
          window{w}
    {
    }

    void cancel()
    {
        cancelled = true;
        prefetch.cancel();
        waiting.emit(asio::cancellation_type::terminal);
        for (transfer_handle& t : moving)
            t.cancel();
    }

    transfer_engine& engine;
    prefetch_handle prefetch;
    const page_layout pages;
    const object_layout objects;
    const std::vector<paged_chunk> chunks;
    const std::size_t window;
    bool cancelled = false;
    asio::cancellation_signal waiting; // for the prefetch
    std::deque<transfer_handle> moving;
    std::exception_ptr failure; // the first
};

/// Scatters windows until there are no more, without waiting for them.
asio::awaitable<std::size_t> scatter_windows(feed& f)
{
    std::size_t sent = 0;
    while (sent < f.chunks.size() && !f.cancelled) {
        const std::size_t wanted = std::min(sent + f.window, f.chunks.size());
        auto readable = f.prefetch.async_readable(
            wanted, asio::bind_cancellation_slot(f.waiting.slot(), asio::as_tuple(asio::use_awaitable)));
        auto [error, lease] = co_await std::move(readable);
        if (error)
            std::rethrow_exception(error);
        const std::size_t there = std::min(lease.size(), wanted);
        if (there <= sent || f.cancelled)
            break;
        const auto first = f.chunks.begin() + static_cast<std::ptrdiff_t>(sent);
        const auto last = f.chunks.begin() + static_cast<std::ptrdiff_t>(there);
        scatter_request request{std::move(lease), f.pages, f.objects, {first, last}};
        request.set_first_object(sent);
        f.moving.push_back(f.engine.submit_scatter(std::move(request)));
        sent = there;
        if (there < wanted)
            break; // no more will come
    }
    co_return sent;
}

asio::awaitable<void> join_transfers(feed& f)
{
    for (std::size_t i = 0; i < f.moving.size(); ++i) {
        auto [error] = co_await f.moving[i].async_wait(asio::as_tuple(asio::use_awaitable));
        if (error && !f.failure)
            f.failure = error;
    }
}

asio::awaitable<device_prefetch_result> run(std::shared_ptr<feed> f)
{
    device_prefetch_result result;
    try {
        result.scattered = co_await scatter_windows(*f);
    } catch (...) {
        f->failure = std::current_exception();
    }
    co_await join_transfers(*f);
    if (!f->failure && !f->cancelled) {
        auto waited = f->prefetch.async_wait(
            asio::bind_cancellation_slot(f->waiting.slot(), asio::as_tuple(asio::use_awaitable)));
        auto [error, prefetched] = co_await std::move(waited);
        f->failure = error;
        result.prefetched = std::move(prefetched);
    }
    if (f->cancelled)
        throw boost::system::system_error{asio::error::operation_aborted};
    if (f->failure)
        std::rethrow_exception(f->failure);
    co_return result;
}

} // namespace

asio::awaitable<device_prefetch_result> scatter_prefetch(transfer_engine& engine, prefetch_handle prefetch,
                                                         page_layout pages, object_layout objects,
                                                         std::vector<paged_chunk> chunks, std::size_t window)
{
    if (window == 0)
        throw std::invalid_argument("scatter_prefetch: a window of 0 objects; at least 1");
    for (const paged_chunk& chunk : chunks)
        chunk.check(pages, objects);
    (void)prefetch.lookup_hits(); // throws here if the handle is empty
    auto f = std::make_shared<feed>(engine, std::move(prefetch), std::move(pages), objects, std::move(chunks), window);
    const auto begin = [&f](auto done) {
        auto slot = asio::get_associated_cancellation_slot(done);
        const auto executor = asio::get_associated_executor(done, f->engine.executor());
        auto ended = [slot, done = std::move(done)](std::exception_ptr error, device_prefetch_result result) mutable {
            slot.clear();
            std::move(done)(std::move(error), std::move(result));
        };
        // An own slot, never emitted, in place of the caller's.
        asio::co_spawn(
            f->engine.executor(), run(f),
            asio::bind_cancellation_slot(asio::cancellation_slot{}, asio::bind_executor(executor, std::move(ended))));
        if (slot.is_connected())
            slot.assign([weak = std::weak_ptr<feed>{f}](asio::cancellation_type) {
                if (const auto running = weak.lock())
                    running->cancel();
            });
    };
    auto outcome =
        co_await asio::async_initiate<const asio::use_awaitable_t<>, void(std::exception_ptr, device_prefetch_result)>(
            begin, asio::use_awaitable);
    co_return outcome;
}

} // namespace terrace::cuda
