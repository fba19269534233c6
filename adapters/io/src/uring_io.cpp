#include "uring_io.hpp"

#include <algorithm>
#include <boost/asio/any_completion_handler.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <exception>
#include <fcntl.h>
#include <iterator>
#include <utility>
#include <vector>

#include "homecoming.hpp"

namespace terrace::io {

namespace {

bool is_direct(const transfer& t) noexcept
{
    return (::fcntl(t.next().fd, F_GETFL) & O_DIRECT) != 0;
}

} // namespace

/// One call of run(): knows its coroutine, and how that cancels it.
class uring_io::batch : public uring_queue::client, public std::enable_shared_from_this<batch> {
public:
    using completion = asio::any_completion_handler<void(std::exception_ptr)>;

    void listen()
    {
        if (auto slot = asio::get_associated_cancellation_slot(done_); slot.is_connected())
            // Weak: the slot lies in the coroutine, which the batch owns.
            slot.assign([weak = weak_from_this()](asio::cancellation_type type) {
                const auto running = weak.lock();
                if (running && (type & (asio::cancellation_type::terminal | asio::cancellation_type::partial)) !=
                                   asio::cancellation_type::none)
                    running->cancel();
            });
    }

protected:
    batch(std::shared_ptr<uring_queue> queue, asio::any_io_executor home, completion done)
        : queue_{std::move(queue)},
          home_{std::move(home)},
          done_{std::move(done)}
    {
    }

    virtual void cancel() { queue_->leave_out(*this); }

    void complete(std::exception_ptr failure)
    {
        send(std::move(home_), [reply = std::move(done_), reason = std::move(failure)]() mutable {
            asio::get_associated_cancellation_slot(reply).clear();
            std::move(reply)(std::move(reason));
        });
    }

    [[nodiscard]] uring_queue& queue() noexcept { return *queue_; }
    [[nodiscard]] const asio::any_io_executor& home() const noexcept { return home_; }

private:
    std::shared_ptr<uring_queue> queue_;
    asio::any_io_executor home_;
    completion done_;
};

class uring_io::plain_batch final : public batch {
public:
    plain_batch(std::shared_ptr<uring_queue> queue, asio::any_io_executor home, std::size_t transfers, completion done)
        : batch{std::move(queue), std::move(home), std::move(done)},
          left_{transfers}
    {
    }

    void start(std::span<transfer> transfers)
    {
        listen();
        queue().add(shared_from_this(), transfers, home());
    }

private:
    void ended(transfer&) override
    {
        if (--left_ == 0)
            complete(nullptr);
    }

    std::size_t left_;
};

/// Items go from a thread to the executor, into the kernel, and back to a thread.
class uring_io::staged_batch final : public batch {
public:
    staged_batch(uring_io& owner, asio::any_io_executor home, std::size_t items, staged_work& work, completion done)
        : batch{owner.queue_, std::move(home), std::move(done)},
          owner_{owner},
          items_{items},
          work_{work},
          transfers_(items),
          left_{std::min(items, owner.pool_.threads())}
    {
    }

    void start()
    {
        listen();
        std::size_t missing = left_ - 1;
        enqueue_turn(); // without it, nothing has begun
        try {
            for (; missing != 0; --missing)
                enqueue_turn();
        } catch (const std::bad_alloc&) { // the others do what there is to do
        }
        for (; missing != 0; --missing)
            one_less();
    }
    void enqueue_turn()
    {
        owner_.pool_.post([me = self()] { me->turn(); });
    }

private:
    struct numbered : transfer {
        numbered(const transfer& t, std::size_t i) : transfer{t}, item{i} {}
        std::size_t item;
    };

    std::shared_ptr<staged_batch> self() { return std::static_pointer_cast<staged_batch>(shared_from_this()); }

    void turn()
    {
        while (!over()) {
            if (!owner_.admit(self()))
                return; // parked
            const std::size_t i = next_++;
            if (i >= items_ || !begin(i))
                owner_.release();
            if (owner_.pool_.busy() && !over()) { // as in io_pool: batches that meet take turns
                enqueue_turn();
                return;
            }
        }
        owner_.wake_parked();
        one_less();
    }

    [[nodiscard]] bool over() const { return next_ >= items_ || stopped_ || owner_.stopping_; }

    /// True: it goes on in the queue.
    bool begin(std::size_t i)
    {
        try {
            std::optional<transfer> t = work_.begin(i);
            if (t && is_direct(*t)) {
                transfers_[i].emplace(*t, i);
                ++left_;
                try {
                    queue().hand_over(shared_from_this(), *transfers_[i], home());
                } catch (...) {
                    --left_; // this turn is left
                    throw;
                }
                return true;
            }
            if (t) {
                t->perform();
                work_.end(i, *t);
            }
        } catch (...) {
            fail(std::current_exception());
        }
        return false;
    }

    void ended(transfer& t) override
    {
        const auto end = [me = self(), &of_item = static_cast<numbered&>(t)] {
            try {
                me->work_.end(of_item.item, of_item);
            } catch (...) {
                me->fail(std::current_exception());
            }
            me->owner_.release();
            me->one_less();
        };
        try {
            owner_.pool_.post(end);
        } catch (const std::bad_alloc&) {
            end(); // late is better than never
        }
    }

    void cancel() override
    {
        stopped_ = true;
        owner_.unpark(*this);
        batch::cancel();
    }

    void fail(std::exception_ptr reason)
    {
        if (!failed_.exchange(true))
            failure_ = std::move(reason);
        stopped_ = true;
    }

    void one_less()
    {
        if (--left_ == 0)
            complete(std::move(failure_));
    }

    uring_io& owner_;
    const std::size_t items_;
    staged_work& work_;
    std::vector<std::optional<numbered>> transfers_; // of items that went into the queue
    std::atomic<std::size_t> next_ = 0;
    std::atomic<std::size_t> left_; // turns that go on, and transfers on their way
    std::atomic<bool> stopped_ = false;
    std::atomic<bool> failed_ = false;
    std::exception_ptr failure_; // written by whoever set `failed_`, read by the last
};

uring_io::uring_io(const disk_io_options& options)
    : register_memory_{options.register_memory},
      max_staged_{std::size_t{options.depth} + options.threads},
      queue_{std::make_shared<uring_queue>(options.depth, options.in_flight_bytes)},
      pool_{options.threads}
{
}

bool uring_io::admit(const std::shared_ptr<staged_batch>& turn)
{
    const std::lock_guard lock{staged_mutex_};
    if (staged_ == max_staged_) {
        parked_.push_back(turn);
        return false;
    }
    ++staged_;
    return true;
}

void uring_io::release()
{
    {
        const std::lock_guard lock{staged_mutex_};
        --staged_;
    }
    wake_parked();
}

/// Wakes one, which admits itself or finds that it is over. Then it wakes the next: the room is still there.
void uring_io::wake_parked()
{
    std::shared_ptr<staged_batch> next;
    {
        const std::lock_guard lock{staged_mutex_};
        if (staged_ == max_staged_ || parked_.empty())
            return;
        next = std::move(parked_.front());
        parked_.pop_front();
    }
    next->enqueue_turn();
}

void uring_io::unpark(const staged_batch& of)
{
    std::vector<std::shared_ptr<staged_batch>> turns;
    {
        const std::lock_guard lock{staged_mutex_};
        const auto is_of = [&](const std::shared_ptr<staged_batch>& turn) { return turn.get() == &of; };
        std::ranges::copy_if(parked_, std::back_inserter(turns), is_of);
        std::erase_if(parked_, is_of);
    }
    for (const std::shared_ptr<staged_batch>& turn : turns)
        turn->enqueue_turn();
}

asio::awaitable<void> uring_io::run(std::span<transfer> transfers)
{
    if (transfers.empty())
        co_return;
    const asio::any_io_executor here = co_await asio::this_coro::executor;
    const auto begin = [&](auto done) {
        std::make_shared<plain_batch>(queue_, counted(here), transfers.size(), std::move(done))->start(transfers);
    };
    co_await asio::async_initiate<const asio::use_awaitable_t<>, void(std::exception_ptr)>(begin, asio::use_awaitable);
}

asio::awaitable<void> uring_io::run(std::size_t items, staged_work& work)
{
    if (items == 0)
        co_return;
    const asio::any_io_executor here = co_await asio::this_coro::executor;
    const auto begin = [&](auto done) {
        std::make_shared<staged_batch>(*this, counted(here), items, work, std::move(done))->start();
    };
    co_await asio::async_initiate<const asio::use_awaitable_t<>, void(std::exception_ptr)>(begin, asio::use_awaitable);
}

asio::awaitable<void> uring_io::for_each(std::size_t items, std::size_t grain, const io_pool::work& item)
{
    return pool_.for_each(items, grain, item);
}

void uring_io::use_memory(std::span<std::byte> memory)
{
    if (register_memory_)
        pool_.post([queue = queue_, memory] { queue->register_memory(memory); });
}

std::string uring_io::backend() const
{
    const std::string registered = queue_->registered().to_string();
    return registered.empty() ? "io_uring" : "io_uring, " + registered;
}

asio::awaitable<void> uring_io::close()
{
    stopping_ = true;
    queue_->detach();
    const std::function<void()> join = [this] { stop(); };
    co_await on_a_thread(join);
}

void uring_io::stop() noexcept
{
    stopping_ = true;
    pool_.stop();   // what its threads still hand over is in the queue then,
    queue_->stop(); // and what ends in the queue ends here: there are no threads any more
}

} // namespace terrace::io
