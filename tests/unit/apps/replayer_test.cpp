#include <csignal>
#include <doctest/doctest.h>
#include <limits>
#include <memory>
#include <stdexcept>
#include <utility>

#include <terrace/adapter_registry.hpp>
#include <terrace/memory_adapter.hpp>

#include "replay/progress_bar.hpp"
#include "replay/replayer.hpp"
#include "replay/report.hpp"
#include "replay/trace_generator.hpp"

using namespace terrace;
using namespace terrace::replay;

namespace {

/// A memory adapter that can be told to damage what it loads, or to refuse what it shall store.
class faulty_adapter final : public l2_adapter {
public:
    enum class fault { none, flips_a_bit, stores_nothing };
    explicit faulty_adapter(fault f) : fault_{f} {}

    asio::awaitable<bitmap> lookup_and_lock(std::span<const object_key> keys) override
    {
        return inner_.lookup_and_lock(keys);
    }
    asio::awaitable<bitmap> load(std::span<const load_item> items) override
    {
        auto loaded = co_await inner_.load(items);
        if (fault_ == fault::flips_a_bit && loaded.any())
            items.front().bytes.back() ^= std::byte{4};
        co_return loaded;
    }
    asio::awaitable<bitmap> store(std::span<const store_item> items) override
    {
        if (fault_ == fault::stores_nothing)
            co_return bitmap{items.size()};
        co_return co_await inner_.store(items);
    }
    asio::awaitable<void> unlock(std::span<const object_key> keys) override { return inner_.unlock(keys); }
    asio::awaitable<bitmap> erase(std::span<const object_key> keys) override { return inner_.erase(keys); }
    asio::awaitable<key_page> list(list_cursor cursor) override { return inner_.list(std::move(cursor)); }
    [[nodiscard]] adapter_status status() const override { return inner_.status(); }
    asio::awaitable<void> close() override { return inner_.close(); }

private:
    memory_adapter inner_;
    fault fault_;
};

using fault = faulty_adapter::fault;

/// What a trace gives when nothing is ever lost, counted without an engine.
struct expected_counts {
    std::uint64_t blocks = 0;
    std::uint64_t prefix_hits = 0;
    std::uint64_t distinct = 0;
};

expected_counts count(const std::vector<trace_request>& trace)
{
    expected_counts counts;
    std::vector<bool> seen;
    for (const auto& request : trace) {
        bool prefix = true;
        for (auto id : request.hash_ids) {
            if (id >= seen.size())
                seen.resize(id + 1);
            prefix = prefix && seen[id];
            counts.prefix_hits += prefix ? 1 : 0;
            ++counts.blocks;
        }
        for (auto id : request.hash_ids) {
            counts.distinct += seen[id] ? 0 : 1;
            seen[id] = true;
        }
    }
    return counts;
}

/// A small population whose prompts hold at most 24 blocks.
std::vector<trace_request> conversations()
{
    return generate_trace({.seed = 9, .conversations = 20, .max_input_tokens = 12'000, .arrivals_per_second = 50});
}

constexpr std::uint64_t object_bytes = 4'096;

config l1_of(std::uint64_t objects)
{
    config engine;
    engine.l1.capacity_bytes = objects * object_bytes;
    return engine;
}

replay_options verified(std::size_t concurrency = 1)
{
    replay_options options;
    options.object_bytes = object_bytes;
    options.concurrency = concurrency;
    options.verify = verification::every_byte;
    return options;
}

} // namespace

TEST_CASE("replay: over an unlimited L2 every block that was seen is a hit, whatever the size of L1")
{
    const auto trace = conversations();
    const auto expected = count(trace);
    REQUIRE(expected.prefix_hits > 0);
    for (std::uint64_t objects : {24U, 100U, 10'000U}) {
        CAPTURE(objects);
        replayer r{trace, l1_of(objects), verified()};
        r.add_adapter(std::make_unique<memory_adapter>());
        const auto outcome = r.run();
        CHECK(outcome.requests == trace.size());
        CHECK(outcome.blocks == expected.blocks);
        CHECK(outcome.prefix_hit_blocks == expected.prefix_hits);
        CHECK(outcome.l1_hit_blocks + outcome.l2_hit_blocks == expected.prefix_hits);
        CHECK(outcome.engine.store.stored_objects == expected.distinct);
        CHECK(outcome.waits.size() == trace.size());
        CHECK(outcome.signal == 0);
        CHECK(outcome.clean());
        CHECK(outcome.problems.empty());
    }
}

TEST_CASE("replay: several clients at a time lose nothing and read back what was written")
{
    const auto trace = conversations();
    replayer r{trace, l1_of(200), verified(8)};
    r.add_adapter(std::make_unique<memory_adapter>());
    const auto outcome = r.run();
    CHECK(outcome.requests == trace.size());
    CHECK(outcome.engine.store.stored_objects >= count(trace).distinct);
    CHECK(outcome.clean());
}

TEST_CASE("replay: L1 alone serves what it still holds")
{
    const auto trace = conversations();
    replayer r{trace, l1_of(10'000), verified()};
    const auto outcome = r.run();
    CHECK(outcome.prefix_hit_blocks == count(trace).prefix_hits);
    CHECK(outcome.l1_hit_blocks == outcome.prefix_hit_blocks);
    CHECK(outcome.clean());

    replayer small{trace, l1_of(24), verified()};
    const auto less = small.run();
    CHECK(less.prefix_hit_blocks < outcome.prefix_hit_blocks);
    CHECK(less.clean());
}

TEST_CASE("replay: a request larger than L1 is written in parts and hits what fits")
{
    const auto trace = conversations();
    replayer r{trace, l1_of(5), verified()};
    r.add_adapter(std::make_unique<memory_adapter>());
    const auto outcome = r.run();
    CHECK(outcome.requests == trace.size());
    CHECK(outcome.clean());
}

TEST_CASE("replay: without verification the same is read and written")
{
    const auto trace = conversations();
    auto options = verified();
    options.verify = verification::none;
    replayer r{trace, l1_of(24), std::move(options)};
    r.add_adapter(std::make_unique<memory_adapter>());
    const auto outcome = r.run();
    CHECK(outcome.prefix_hit_blocks == count(trace).prefix_hits);
    CHECK(outcome.clean());
}

TEST_CASE("replay: one flipped bit in what L2 returns is found and counted")
{
    const auto trace = conversations();
    replayer r{trace, l1_of(24), verified()};
    r.add_adapter(std::make_unique<faulty_adapter>(fault::flips_a_bit));
    const auto outcome = r.run();
    CHECK(outcome.mismatched_objects > 0);
    CHECK(outcome.corrupt_objects() == outcome.mismatched_objects);
    CHECK_FALSE(outcome.clean());
    REQUIRE_FALSE(outcome.problems.empty());
    CHECK(outcome.problems[0].find("other bytes than were written, from byte 4088 on") != std::string::npos);
}

TEST_CASE("replay: what L2 refuses to store counts as errors, and the replay goes on")
{
    const auto trace = conversations();
    replayer r{trace, l1_of(10'000), verified()};
    r.add_adapter(std::make_unique<faulty_adapter>(fault::stores_nothing));
    const auto outcome = r.run();
    CHECK(outcome.requests == trace.size());
    CHECK(outcome.engine.store.stored_objects == 0);
    CHECK(outcome.errors() > 0);
}

TEST_CASE("replay: of an adapter that the engine leaves alone the table says so, whatever it says of itself")
{
    const auto trace = conversations();
    replayer r{trace, l1_of(10'000), verified()};
    r.add_adapter(std::make_unique<memory_adapter>());
    auto outcome = r.run();
    CHECK(to_table(outcome, 1000).find("memory:  healthy") != std::string::npos);
    CHECK(to_table(outcome, 1000).find("left alone") == std::string::npos);
    outcome.engine.adapters[0].health = adapter_health::failed;
    outcome.engine.adapters[0].breaker_trips = 3;
    CHECK(to_table(outcome, 1000).find("memory:  failed") != std::string::npos);
    CHECK(to_table(outcome, 1000).find("3 times left alone") != std::string::npos);
}

TEST_CASE("replay: its pace is that of the timestamps, by the factor")
{
    const std::vector<trace_request> trace{{1'000, 512, 1, {0}}, {1'000, 512, 1, {1}}, {41'000, 512, 1, {2}}};
    auto options = verified();
    options.pace = pace::times(1'000);
    replayer r{trace, l1_of(24), std::move(options)};
    CHECK(r.run().elapsed >= std::chrono::milliseconds{40});
}

TEST_CASE("replay: a signal ends it after the requests in progress, and what was done is reported")
{
    const std::vector<trace_request> trace{{0, 512, 1, {0}}, {3'600'000, 512, 1, {1}}, {3'600'000, 512, 1, {2}}};
    auto options = verified(2);
    options.pace = pace::times(1); // the second request is an hour away
    options.on_progress = [](const replay_progress& done) {
        if (done.requests == 1)
            std::raise(SIGINT);
    };
    replayer r{trace, l1_of(24), std::move(options)};
    r.add_adapter(std::make_unique<memory_adapter>());
    const auto outcome = r.run();
    CHECK(outcome.signal == SIGINT);
    CHECK(outcome.requests == 1);
    CHECK(outcome.engine.store.stored_objects == 1);
    CHECK(outcome.clean());
}

TEST_CASE("replay: after a signal, a store that hangs is not waited for")
{
    const std::vector<trace_request> trace{{0, 512, 1, {0}}, {3'600'000, 512, 1, {1}}};
    auto options = verified(2);
    options.pace = pace::times(1);
    options.stop_timeout = std::chrono::milliseconds{1};
    options.on_progress = [](const replay_progress&) { std::raise(SIGTERM); };
    config engine = l1_of(24);
    engine.close_timeout = std::chrono::milliseconds{1};
    replayer r{trace, std::move(engine), std::move(options)};
    r.add_adapter(make_adapter("fault:memory:;store=hang"));
    const auto outcome = r.run();
    CHECK(outcome.signal == SIGTERM);
    CHECK(outcome.requests == 1);
    CHECK(outcome.engine.store.stored_objects == 0);
}

TEST_CASE("replay: options that cannot be are refused before the start, with their values")
{
    const auto trace = conversations();
    auto complaint = [&](auto change) {
        auto options = verified();
        change(options);
        try {
            replayer r{trace, l1_of(24), std::move(options)};
        } catch (const std::invalid_argument& e) {
            return std::string{e.what()};
        }
        return std::string{"none"};
    };
    CHECK(complaint([](auto& o) { o.object_bytes = 25 * object_bytes; }) ==
          "an object of 100 KiB does not fit into an L1 of 96 KiB");
    CHECK(complaint([](auto& o) { o.object_bytes = 0; }) == "objects of 0 bytes: expected 1 to 2^62");
    CHECK(complaint([](auto& o) { o.concurrency = 0; }) == "concurrency 0: expected 1 to 65536");
    CHECK(complaint([](auto& o) { o.prefill_tokens_per_second = 0; }) == "0 tokens/s of prefill: expected more than 0");
    CHECK_THROWS_AS((replayer{{}, l1_of(24), verified()}), std::invalid_argument);
}

TEST_CASE("report: the JSON has the keys that programs rely on, in this order")
{
    replay_outcome outcome;
    outcome.requests = 4;
    outcome.blocks = 40;
    outcome.prefix_hit_blocks = 10;
    outcome.l1_hit_blocks = 4;
    outcome.l2_hit_blocks = 6;
    outcome.refused_objects = 1;
    outcome.mismatched_objects = 2;
    outcome.failed_calls = 3;
    outcome.waits = {std::chrono::microseconds{1}, std::chrono::microseconds{2}};
    outcome.ttft_with_cache = prefill_model::milliseconds{20};
    outcome.ttft_without_cache = prefill_model::milliseconds{50};
    outcome.elapsed = std::chrono::seconds{2};
    outcome.engine.store.stored_objects = 30;
    outcome.engine.store.stored_bytes = 300;
    outcome.engine.store.dropped_objects = 4;
    outcome.engine.store.failed_objects = 5;
    outcome.engine.prefetch.loaded_bytes = 60;
    outcome.engine.adapters.emplace_back();
    outcome.engine.adapters[0].errors = 6;
    outcome.engine.adapters[0].timeouts = 7;
    outcome.engine.adapters[0].self.corrupt_objects = 8;
    auto json = to_json(outcome);
    CHECK(json["engine"]["store"]["stored_objects"] == 30); // all that status() tells
    json.erase("engine");
    CHECK(json.dump() ==
          R"({"requests":4,"blocks":40,"prefix_hit_blocks":10,"prefix_hit_ratio":0.25,"l1_hit_blocks":4,)"
          R"("l2_hit_blocks":6,"stored_objects":30,"dropped_objects":5,"corrupt_objects":10,)"
          R"("requests_per_second":2.0,"prefetch_latency_us":{"p50":1.0,"p90":2.0,"p99":2.0,"max":2.0},)"
          R"("loaded_bytes":60,"stored_bytes":300,"ttft_ms":{"with_cache":10.0,"without_cache":25.0},"errors":21})");
    CHECK_FALSE(outcome.clean());
}

TEST_CASE("report: a replay that ended before its first request divides by nothing")
{
    const replay_outcome nothing;
    CHECK(to_json(nothing).dump().find("null") == std::string::npos);
    CHECK(to_table(nothing, 10'000).find("nan") == std::string::npos);
    CHECK(nothing.clean());
}

TEST_CASE("progress: one line that fits a terminal")
{
    CHECK(progress_line({.requests = 500,
                         .total = 2'000,
                         .blocks = 10'000,
                         .prefix_hit_blocks = 2'890,
                         .elapsed = std::chrono::seconds{10}}) ==
          "[######..................]  25 %  500/2,000  50/s  hits 28.9 %  ETA 0:30");
    CHECK(progress_line({.requests = 1, .total = 1'000'000, .elapsed = std::chrono::seconds{1}}).ends_with("> 99 h"));
    const auto most = std::numeric_limits<std::uint32_t>::max();
    CHECK(progress_line({.requests = most, .total = most, .blocks = 1, .prefix_hit_blocks = 1}).size() <= 90);
}
