#include "simulation/world.hpp"

#include <boost/asio/co_spawn.hpp>
#include <stdexcept>
#include <terrace/memory_adapter.hpp>

namespace terrace::simulation {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

/// Far more than any world needs.
constexpr std::uint64_t most_handlers = 200'000;

std::string describe(const std::exception_ptr& error)
{
    try {
        std::rethrow_exception(error);
    } catch (const std::exception& e) {
        return fmt::format("a client got {}", e.what());
    } catch (...) {
        return "a client got something thrown";
    }
}

const char* any_store_policy(dice& d)
{
    return d.any({"default", "default", "skip_l1", "second_touch?history=8", "write_budget?rate=64KiB", "tiered"});
}

} // namespace

world::world(const run_options& options)
    : options_{options},
      dice_{options.seed},
      honest_{dice_.one_in(3)},
      store_policy_{any_store_policy(dice_)},
      watching_{.known = truth_,
                .time = *time_,
                .buffers = buffers_,
                .complain = [this](std::string what) { fail(std::move(what)); },
                .demotes = demotes()},
      manager_{io_.get_executor(), make_config()}
{
    note("store policy {}, {} what was loaded{}", store_policy_, retains_ ? "retains" : "drops",
         honest_ ? ", no faults" : "");
    const std::size_t adapters = dice_.below(4);
    for (std::size_t i = 0; i < adapters; ++i)
        add_adapter();
}

run_result world::run()
{
    const std::size_t clients = 1 + dice_.below(5);
    for (std::size_t i = 0; i < clients; ++i)
        start(client());
    run_until([this] { return active_ == 0; }, "clients");
    if (ok() && !closing_) {
        start(flush());
        run_until([this] { return active_ == 0; }, "flush()");
    }
    if (ok() && !closing_) {
        start(audit());
        run_until([this] { return active_ == 0; }, "the audit");
    }
    if (ok()) {
        start(close());
        run_until([this] { return active_ == 0; }, "close()");
    }
    if (!ok())
        return result_;
    do
        settle(); // what outlived close() ends when its adapter lets it
    while (release_what_hangs() || time_->advance_to_next_alarm());
    if (ok())
        check_nothing_left();
    result_.digest = digest_;
    return result_;
}

// ---- what it is made of ----------------------------------------------------------------------------------------

config world::make_config()
{
    config cfg;
    cfg.l1.capacity_bytes = 4096 * (2 + dice_.below(7)); // of objects of 1 KiB and less
    cfg.l1.alignment_bytes = dice_.any({64U, 1024U});
    l1_alignment_ = cfg.l1.alignment_bytes;
    cfg.l1.huge_pages = huge_page_mode::off;
    cfg.eviction.policy = dice_.any({"lru", "s3fifo", "isolated_lru", "none"});
    evicts_ = cfg.eviction.policy != "none";
    cfg.eviction.high_watermark = dice_.any({0.6, 0.9, 1.0});
    cfg.eviction.low_watermark = 0.5;
    cfg.eviction.quotas = quotas_;
    retains_ = dice_.one_in(2);
    cfg.prefetch = prefetch_policy::make(retains_ ? "retain" : "default");
    cfg.store = store_policy::make(store_policy_);
    cfg.prefetch_limits.window_bytes = watching_.load_window_bytes = dice_.any({1024ULL, 16ULL << 20});
    cfg.prefetch_limits.requests_in_flight = dice_.any({1U, 2U, 256U});
    cfg.prefetch_limits.requests_waiting = dice_.any({2U, 4096U});
    cfg.prefetch_limits.room_timeout = dice_.any({milliseconds{20}, milliseconds{5000}});
    cfg.late_loads = dice_.any({late_load_policy::admit, late_load_policy::discard});
    cfg.close_timeout = milliseconds{10'000};
    cfg.clock = time_;
    cfg.random_seed = options_.seed;
    return cfg;
}

adapter_options world::any_options()
{
    adapter_options options;
    const milliseconds shortest{honest_ ? 1000 : 4};
    options.lookup_timeout = dice_.any({shortest, milliseconds{1000}});
    options.load_timeout = dice_.any({shortest, milliseconds{1000}});
    options.store_timeout = dice_.any({shortest, milliseconds{1000}});
    options.stores_in_flight = dice_.any({1U, 4U});
    options.stores_beside_loads = dice_.any({0U, 1U});
    options.store_window_bytes = dice_.any({1ULL, 4096ULL, 16ULL << 20});
    options.store_queue_bytes = dice_.any({0ULL, 2048ULL});
    options.store_queue_full =
        dice_.any({full_queue_policy::wait, full_queue_policy::drop_oldest, full_queue_policy::refuse});
    options.store_retries.give_up_after = milliseconds{500};
    options.breaker.failures = dice_.any({1U, 5U});
    options.breaker.cool_down = milliseconds{20};
    options.breaker.max_cool_down = milliseconds{200};
    return options;
}

void world::add_adapter()
{
    memory_options memory;
    memory.clock = time_;
    memory.capacity_bytes = dice_.any({0ULL, 8192ULL, 65'536ULL});
    memory.latency = microseconds{dice_.any({0, 1, 200, 5000})};
    memory.eviction = dice_.any({"lru", "s3fifo", "isolated_lru"});
    memory.quotas = quotas_;
    const adapter_options options = any_options();
    auto faults = std::make_shared<fault_control>(dice_.below(1'000'000), time_);
    while (!honest_ && dice_.one_in(2)) {
        try {
            faults->add(any_fault());
        } catch (const std::invalid_argument&) {
            // an effect that these calls cannot have
        }
    }
    plugged added;
    added.faults = faults;
    added.seen = std::make_shared<watch>(watching_, options);
    added.unlimited = memory.capacity_bytes == 0 && memory.eviction != "isolated_lru";
    added.commits_before = commits_.size();
    auto adapter =
        make_watched_adapter(make_fault_adapter(std::make_unique<memory_adapter>(memory), faults), added.seen);
    added.itself = adapter.get();
    added.id = manager_.add_adapter(std::move(adapter), options);
    faults_.push_back(faults);
    watches_.push_back(added.seen);
    note("adapter {}: {} bytes, {}, {} us", watches_.size(), memory.capacity_bytes, memory.eviction,
         std::chrono::duration_cast<microseconds>(memory.latency).count());
    adapters_.push_back(std::move(added));
}

fault_rule world::any_fault()
{
    fault_rule rule{
        dice_.any({fault_calls::lookup, fault_calls::load, fault_calls::store, fault_calls::unlock,
                   fault_calls::erase | fault_calls::lock_victims, fault_calls::lookup | fault_calls::load,
                   fault_calls::load | fault_calls::store}),
        // Not corruption: only a checksum sees that, and the memory adapter has none.
        dice_.any({fault_effect::delay, fault_effect::delay, fault_effect::throw_error, fault_effect::lose_answer,
                   fault_effect::hang, fault_effect::hang_deaf, fault_effect::fail_items, fault_effect::drop_items,
                   fault_effect::wrong_size, fault_effect::die})};
    rule.probability = dice_.any({0.02, 0.2, 1.0});
    rule.item_probability = dice_.any({0.2, 1.0});
    rule.delay = dice_.up_to(milliseconds{20});
    rule.from = dice_.up_to(milliseconds{100});
    if (rule.probability == 1)
        rule.until = rule.from + dice_.up_to(milliseconds{50});
    return rule;
}

// ---- running it ------------------------------------------------------------------------------------------------

/// What hangs does not do so for ever, or nothing could be expected of it.
bool world::release_what_hangs()
{
    bool any = false;
    for (const auto& faults : faults_)
        if (faults->counts().hanging != 0) {
            faults->release();
            any = true;
        }
    return any;
}

void world::start(asio::awaitable<void> work)
{
    ++active_;
    asio::co_spawn(io_, std::move(work), [this](std::exception_ptr error) {
        --active_;
        if (error)
            fail(describe(error));
    });
}

template <class Done>
void world::run_until(Done done, std::string_view what)
{
    while (ok() && !done()) {
        io_.restart();
        if (io_.poll_one() != 0) {
            check_always();
            if (++result_.handlers == most_handlers)
                fail(fmt::format("{} go on for ever: {}", what, to_json(manager_.status())));
        } else if (!time_->advance_to_next_alarm()) {
            fail(fmt::format("{} wait for ever: {}", what, to_json(manager_.status())));
        }
    }
}

void world::settle()
{
    io_.restart();
    while (io_.poll() != 0)
        io_.restart();
}

// ---- telling ---------------------------------------------------------------------------------------------------

void world::fail(std::string why)
{
    if (ok())
        result_.failure = std::move(why);
}

void world::tell(const std::string& line)
{
    const auto now = time_->now().time_since_epoch().count();
    for (const char c : line)
        digest_ = (digest_ ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
    digest_ = (digest_ ^ static_cast<std::uint64_t>(now)) * 0x100000001b3U;
    if (options_.tell)
        fmt::print(stderr, "{:>12} us  {}\n", now / 1000, line);
}

run_result simulate(const run_options& options)
{
    auto w = std::make_unique<world>(options);
    auto result = w->run();
    if (!result.failure.empty())
        (void)w.release(); // its end would break an assertion, and hide what was seen before
    return result;
}

} // namespace terrace::simulation
