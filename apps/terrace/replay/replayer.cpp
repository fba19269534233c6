#include "replay/replayer.hpp"

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <csignal>
#include <cstring>
#include <fmt/format.h>
#include <stdexcept>
#include <sys/resource.h>

#include <terrace/text_options.hpp>

#include "replay/pattern.hpp"

namespace terrace::replay {
namespace {

using steady = std::chrono::steady_clock;

constexpr std::size_t problems_kept = 5;

/// Objects that L1 holds when it holds nothing else.
std::uint64_t objects_in(const l1_config& l1, std::uint64_t object_bytes)
{
    auto rounded_up = [](std::uint64_t n, std::uint64_t unit) { return (n / unit + (n % unit != 0 ? 1 : 0)) * unit; };
    return rounded_up(l1.capacity_bytes, 4096) / rounded_up(object_bytes, std::max(l1.alignment_bytes, 1U));
}

void check(std::span<const trace_request> requests, const l1_config& l1, const replay_options& options)
{
    constexpr std::uint64_t largest = std::uint64_t{1} << 62; // memory_layout's limit
    if (requests.empty())
        throw std::invalid_argument("the trace holds no request");
    if (options.object_bytes == 0 || options.object_bytes > largest)
        throw std::invalid_argument(fmt::format("objects of {} bytes: expected 1 to 2^62", options.object_bytes));
    if (options.concurrency == 0 || options.concurrency > 65'536)
        throw std::invalid_argument(fmt::format("concurrency {}: expected 1 to 65536", options.concurrency));
    if (!(options.prefill_tokens_per_second > 0))
        throw std::invalid_argument(
            fmt::format("{} tokens/s of prefill: expected more than 0", options.prefill_tokens_per_second));
    if (objects_in(l1, options.object_bytes) == 0)
        throw std::invalid_argument(fmt::format("an object of {} does not fit into an L1 of {}",
                                                format_bytes(options.object_bytes), format_bytes(l1.capacity_bytes)));
}

std::uint64_t peak_rss_bytes()
{
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
}

} // namespace

std::uint64_t replay_outcome::dropped_objects() const noexcept
{
    return refused_objects + engine.store.dropped_objects + engine.store.refused_objects;
}

std::uint64_t replay_outcome::corrupt_objects() const noexcept
{
    auto n = mismatched_objects;
    for (const auto& adapter : engine.adapters)
        n += adapter.self.corrupt_objects;
    return n;
}

std::uint64_t replay_outcome::errors() const noexcept
{
    auto n = failed_calls + engine.store.failed_objects;
    for (const auto& adapter : engine.adapters)
        n += adapter.errors + adapter.timeouts;
    return n;
}

bool replay_outcome::clean() const noexcept
{
    return dropped_objects() == 0 && corrupt_objects() == 0 && errors() == 0;
}

replayer::replayer(std::span<const trace_request> requests, config engine, replay_options options)
    : requests_{requests},
      options_{std::move(options)},
      first_key_{"replay", chunk_hash::from_number(0)},
      prefill_{options_.prefill_tokens_per_second}
{
    check(requests_, engine.l1, options_);
    layout_ = memory_layout::bytes(options_.object_bytes);
    // A batch is granted as a whole. Half of L1 leaves room to go on while the other half is being stored.
    batch_objects_ = std::max<std::uint64_t>(objects_in(engine.l1, options_.object_bytes) / 2, 1);
    if (options_.verify == verification::none) {
        filler_.resize(options_.object_bytes);
        fill_pattern(first_key_, filler_);
    }
    engine_.emplace(context_.get_executor(), std::move(engine));
    outcome_.waits.reserve(requests_.size());
}

replayer::~replayer() = default;

void replayer::add_adapter(std::unique_ptr<l2_adapter> adapter, adapter_options options)
{
    (void)engine_->add_adapter(std::move(adapter), options);
}

replay_outcome replayer::run()
{
    signals_.add(SIGINT);
    signals_.add(SIGTERM);
    signals_.async_wait([this](boost::system::error_code failure, int signal) {
        if (!failure)
            stop(signal);
    });
    asio::co_spawn(context_, replay(), [this](std::exception_ptr failure) {
        signals_.clear();
        context_.stop(); // where an adapter hangs, close() has given it up, and so do we
        if (failure)
            std::rethrow_exception(failure);
    });
    context_.run();

    std::ranges::sort(outcome_.waits);
    outcome_.peak_rss_bytes = peak_rss_bytes();
    return std::move(outcome_);
}

/// The whole replay: all clients from start to end, then the engine's.
asio::awaitable<void> replayer::replay()
{
    const auto executor = co_await asio::this_coro::executor;
    const auto clients = std::min(options_.concurrency, requests_.size());
    for (std::size_t i = 0; i < clients; ++i)
        alarms_.emplace_back(executor);

    started_ = steady::now();
    auto start = [&](asio::steady_timer& alarm) { return asio::co_spawn(executor, client(alarm), asio::deferred); };
    std::vector<decltype(start(alarms_.front()))> running;
    for (auto& alarm : alarms_)
        running.push_back(start(alarm));
    auto all = asio::experimental::make_parallel_group(std::move(running));
    auto [order, failures] = co_await all.async_wait(asio::experimental::wait_for_all(), asio::use_awaitable);
    outcome_.elapsed = steady::now() - started_;
    for (const auto& failure : failures)
        if (failure)
            std::rethrow_exception(failure);

    co_await finish();
}

asio::awaitable<void> replayer::client(asio::steady_timer& alarm)
{
    while (const auto* request = take()) {
        const auto due = started_ + options_.pace.due(request->timestamp_ms, requests_.front().timestamp_ms);
        if (due > steady::now()) {
            alarm.expires_at(due);
            co_await alarm.async_wait(asio::as_tuple(asio::use_awaitable)); // stop() ends it
            if (outcome_.signal != 0)
                break;
        }
        co_await serve(*request);
        co_await asio::post(asio::use_awaitable); // the engine's own flows have their turn
    }
}

asio::awaitable<void> replayer::serve(const trace_request& request)
{
    std::vector<object_key> keys;
    keys.reserve(request.hash_ids.size());
    for (auto id : request.hash_ids)
        keys.push_back(first_key_.with_hash(chunk_hash::from_number(id)));
    try {
        const auto hits = co_await read_hits(request, keys);
        keys.erase(keys.begin(), keys.begin() + static_cast<std::ptrdiff_t>(hits));
        co_await write_missing(std::move(keys));
    } catch (const std::exception& e) {
        fail(e.what());
    }
    ++outcome_.requests;
    outcome_.blocks += request.hash_ids.size();
    report_progress();
}

/// Answers how many leading keys were hits. Their lease ends with it: what waits for room below must hold none.
asio::awaitable<std::size_t> replayer::read_hits(const trace_request& request, std::vector<object_key> keys)
{
    const auto asked = steady::now();
    prefetch_request wanted{std::move(keys), layout_};
    const prefetch_result brought = co_await engine_->prefetch(std::move(wanted));
    const auto wait = steady::now() - asked;

    if (options_.verify == verification::every_byte)
        check_bytes(brought.lease);
    outcome_.prefix_hit_blocks += brought.prefix_hits;
    outcome_.l1_hit_blocks += brought.l1_hits;
    outcome_.l2_hit_blocks += brought.l2_hits;
    outcome_.waits.push_back(wait);
    outcome_.ttft_with_cache += prefill_.with_cache(request.input_tokens, brought.prefix_hits, wait);
    outcome_.ttft_without_cache += prefill_.without_cache(request.input_tokens);
    co_return brought.prefix_hits;
}

asio::awaitable<void> replayer::write_missing(std::vector<object_key> keys)
{
    for (auto rest = std::span{std::as_const(keys)}; !rest.empty();) {
        const auto batch = rest.first(std::min(rest.size(), batch_objects_));
        rest = rest.subspan(batch.size());

        std::vector<object_key> wanted{batch.begin(), batch.end()};
        const auto deadline = steady::now() + options_.room_timeout;
        auto room = co_await engine_->reserve_write_when_free(std::move(wanted), layout_, deadline);
        fill(room);
        room.commit();
    }
}

asio::awaitable<void> replayer::finish()
{
    const auto last_request = steady::now();
    const auto executor = co_await asio::this_coro::executor;
    auto stoppable = asio::bind_cancellation_slot(flushing_.slot(), asio::use_awaitable);
    try {
        if (steady::now() < give_up_.expiry())
            co_await asio::co_spawn(executor, engine_->flush(), std::move(stoppable));
    } catch (const std::exception& e) {
        if (steady::now() < give_up_.expiry())
            fail(fmt::format("flush: {}", e.what()));
    }
    outcome_.draining = steady::now() - last_request;
    outcome_.engine = engine_->status();
    try {
        co_await engine_->close();
        expect_nothing_left(engine_->status());
    } catch (const std::exception& e) {
        fail(fmt::format("close: {}", e.what()));
    }
}

const trace_request* replayer::take() noexcept
{
    if (outcome_.signal != 0 || taken_ == requests_.size())
        return nullptr;
    return &requests_[taken_++];
}

void replayer::stop(int signal)
{
    outcome_.signal = signal;
    signals_.clear(); // from now on a signal does what it does by default
    for (auto& alarm : alarms_)
        alarm.cancel();
    give_up_.expires_after(options_.stop_timeout);
    give_up_.async_wait([this](boost::system::error_code ended) {
        if (!ended)
            flushing_.emit(asio::cancellation_type::all);
    });
}

void replayer::check_bytes(const read_lease& hits)
{
    for (std::size_t i = 0; i < hits.size(); ++i) {
        const auto at = find_mismatch(hits.key(i), hits.bytes(i));
        if (!at)
            continue;
        ++outcome_.mismatched_objects;
        if (outcome_.problems.size() < problems_kept)
            outcome_.problems.push_back(
                fmt::format("{}: other bytes than were written, from byte {} on", hits.key(i).to_string(), *at));
    }
}

void replayer::fill(write_lease& room)
{
    for (std::size_t i = 0; i < room.size(); ++i) {
        const auto refusal = room.ok(i);
        if (refusal == l1_error::already_resident)
            continue; // another client has written it meanwhile
        if (refusal != l1_error::none) {
            ++outcome_.refused_objects;
            if (outcome_.problems.size() < problems_kept)
                outcome_.problems.push_back(
                    fmt::format("{}: dropped: {}", room.key(i).to_string(), to_string(refusal)));
            continue;
        }
        const auto bytes = room.bytes(i);
        if (options_.verify == verification::every_byte)
            fill_pattern(room.key(i), bytes);
        else
            std::memcpy(bytes.data(), filler_.data(), bytes.size());
    }
}

/// The proof that DESIGN.md's third invariant asks for.
void replayer::expect_nothing_left(const engine_status& left)
{
    if (left.l1.locks == 0 && left.l1.staged_objects == 0 && left.prefetch.in_flight == 0 &&
        left.prefetch.l2_locks == 0 && left.store.in_flight == 0 && left.store.queued_objects == 0)
        return;
    fail(fmt::format("after close: {} L1 locks, {} staged objects, {} prefetch operations, {} L2 locks, {} stores and "
                     "{} queued objects are left, expected none",
                     left.l1.locks, left.l1.staged_objects, left.prefetch.in_flight, left.prefetch.l2_locks,
                     left.store.in_flight, left.store.queued_objects));
}

void replayer::fail(std::string problem)
{
    ++outcome_.failed_calls;
    if (outcome_.problems.size() < problems_kept)
        outcome_.problems.push_back(std::move(problem));
}

void replayer::report_progress() const
{
    if (options_.on_progress)
        options_.on_progress({.requests = outcome_.requests,
                              .total = requests_.size(),
                              .blocks = outcome_.blocks,
                              .prefix_hit_blocks = outcome_.prefix_hit_blocks,
                              .elapsed = steady::now() - started_});
}

} // namespace terrace::replay
