#include "io_pool.hpp"

#include <algorithm>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <utility>

#include "homecoming.hpp"

namespace terrace::io {

/// One call of for_each(). Its turns share it; the last one sends it home.
struct io_pool::batch {
    batch(asio::any_io_executor h, std::size_t n, std::size_t g, std::size_t t, const work& i, completion d)
        : items{n},
          grain{g},
          item{i},
          turns{t},
          done{std::move(d)},
          home{std::move(h)}
    {
    }

    void fail(std::exception_ptr reason)
    {
        if (!stopped.exchange(true))
            failure = std::move(reason);
    }

    void complete()
    {
        send(std::move(home), [reply = std::move(done), reason = std::move(failure)]() mutable {
            asio::get_associated_cancellation_slot(reply).clear();
            std::move(reply)(std::move(reason));
        });
    }

    const std::size_t items;
    const std::size_t grain;
    const work& item;
    std::atomic<std::size_t> next = 0;
    std::atomic<std::size_t> turns;    // on the threads or waiting for one
    std::atomic<bool> stopped = false; // by cancellation or failure
    std::exception_ptr failure;        // written by whoever set `stopped`, read by the last turn
    completion done;
    asio::any_io_executor home;
};

io_pool::io_pool(std::size_t threads) : thread_count_{threads}, threads_{threads} {}

asio::awaitable<void> io_pool::for_each(std::size_t items, std::size_t grain, const work& item)
{
    const asio::any_io_executor here = co_await asio::this_coro::executor;
    const auto begin = [&](auto done) { start(counted(here), items, grain, item, std::move(done)); };
    co_await asio::async_initiate<const asio::use_awaitable_t<>, void(std::exception_ptr)>(begin, asio::use_awaitable);
}

void io_pool::start(asio::any_io_executor home, std::size_t items, std::size_t grain, const work& item, completion done)
{
    const std::size_t turns = std::clamp<std::size_t>((items + grain - 1) / grain, 1, thread_count_);
    const auto b = std::make_shared<batch>(std::move(home), items, grain, turns, item, std::move(done));

    if (auto slot = asio::get_associated_cancellation_slot(b->done); slot.is_connected())
        // Weak: the slot lies in the coroutine, which the batch owns.
        slot.assign([weak = std::weak_ptr<batch>{b}](asio::cancellation_type type) {
            const auto running = weak.lock();
            if (running && (type & (asio::cancellation_type::terminal | asio::cancellation_type::partial)) !=
                               asio::cancellation_type::none)
                running->stopped = true;
        });

    enqueue(b); // without it, nothing has begun
    std::size_t missing = turns - 1;
    try {
        for (; missing != 0; --missing)
            enqueue(b);
    } catch (const std::bad_alloc&) { // the others do what there is to do
    }
    for (; missing != 0; --missing)
        one_less(*b);
}

void io_pool::one_less(batch& of)
{
    if (--of.turns == 0)
        of.complete();
}

void io_pool::enqueue(std::shared_ptr<batch> b)
{
    post([this, b = std::move(b)] { run(b); });
}

void io_pool::post(std::function<void()> f)
{
    if (stopped_) {
        f();
        return;
    }
    ++queued_;
    try {
        asio::post(threads_, [this, f = std::move(f)] {
            --queued_;
            f();
        });
    } catch (...) {
        --queued_;
        throw;
    }
}

void io_pool::run(const std::shared_ptr<batch>& b)
{
    for (;;) {
        const std::size_t first = b->next.fetch_add(b->grain);
        if (first >= b->items)
            break;
        try {
            for (std::size_t i = first; i < std::min(first + b->grain, b->items); ++i)
                if (!b->stopped && !stopping_)
                    b->item(i);
        } catch (...) {
            b->fail(std::current_exception());
        }
        if (queued_ != 0 && b->next < b->items && !b->stopped && !stopping_) {
            try {
                enqueue(b);
                return;
            } catch (const std::bad_alloc&) { // then it keeps its turn
            }
        }
    }
    one_less(*b);
}

asio::awaitable<void> io_pool::close()
{
    stopping_ = true;
    const std::function<void()> join = [this] { stop(); };
    co_await on_a_thread(join);
}

void io_pool::stop() noexcept
{
    stopping_ = true;
    threads_.join();
    stopped_ = true;
}

} // namespace terrace::io
