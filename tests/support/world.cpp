#include "support/world.hpp"

#include <algorithm>
#include <boost/asio/error.hpp>
#include <boost/system/system_error.hpp>
#include <sstream>

namespace terrace::test {
namespace {

constexpr std::string_view model = "m";

config make_config(const world_options& options, std::shared_ptr<clock> time)
{
    config cfg;
    cfg.l1.capacity_bytes = options.l1_objects * object_bytes;
    cfg.l1.huge_pages = huge_page_mode::off;
    cfg.prefetch = prefetch_policy::make(options.prefetch_policy);
    cfg.store =
        options.own_store_policy != nullptr ? options.own_store_policy : store_policy::make(options.store_policy);
    cfg.random_seed = options.random_seed;
    cfg.eviction.policy = options.eviction;
    cfg.eviction.quotas = options.quotas;
    cfg.eviction.high_watermark = options.high_watermark;
    cfg.eviction.low_watermark = options.low_watermark;
    cfg.late_loads = options.late_loads;
    cfg.prefetch_limits = options.limits;
    cfg.clock = std::move(time);
    cfg.log = options.log;
    return cfg;
}

std::vector<std::shared_ptr<scripted_adapter::script>> make_scripts(std::size_t n)
{
    std::vector<std::shared_ptr<scripted_adapter::script>> scripts(std::max<std::size_t>(n, 1));
    for (auto& s : scripts)
        s = std::make_shared<scripted_adapter::script>();
    return scripts;
}

std::string word_of(const object_key& k)
{
    const auto bytes = k.hash().bytes();
    std::string word{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    return k.cache_salt().empty() ? word : word.append("@").append(k.cache_salt());
}

} // namespace

object_key key(std::string_view word)
{
    const auto at = std::min(word.find('@'), word.size());
    const std::string_view salt = word.substr(std::min(at + 1, word.size()));
    return {model, chunk_hash{std::as_bytes(std::span{word.substr(0, at)})}, 0, 0, salt};
}

std::vector<object_key> keys(std::string_view words)
{
    std::vector<object_key> result;
    std::istringstream in{std::string{words}};
    for (std::string word; in >> word;)
        result.push_back(key(word));
    return result;
}

std::string words(const std::vector<std::string>& names)
{
    std::string result;
    for (const std::string& name : names)
        result += (result.empty() ? "" : " ") + word_of(object_key::parse(name).value());
    return result;
}

std::string words(const read_lease& lease)
{
    std::string result;
    for (std::size_t i = 0; i < lease.size(); ++i)
        result += (result.empty() ? "" : " ") + word_of(lease.key(i));
    return result;
}

std::vector<std::byte> payload(const object_key& k, std::size_t bytes)
{
    std::vector<std::byte> result(bytes);
    std::uint64_t x = k.hash_code() | 1;
    for (std::byte& b : result) {
        x = x * 6364136223846793005U + 1442695040888963407U;
        b = static_cast<std::byte>(x >> 56);
    }
    return result;
}

bool intact(const read_lease& lease)
{
    for (std::size_t i = 0; i < lease.size(); ++i)
        if (!std::ranges::equal(lease.bytes(i), payload(lease.key(i), lease.bytes(i).size())))
            return false;
    return true;
}

bool is_aborted(const std::exception_ptr& error)
{
    return is_error(error, asio::error::operation_aborted);
}

bool is_error(const std::exception_ptr& error, const boost::system::error_code& code)
{
    try {
        std::rethrow_exception(error);
    } catch (const boost::system::system_error& e) {
        return e.code() == code;
    } catch (...) {
        return false;
    }
}

world::world(world_options options)
    : adapters{make_scripts(options.adapters)},
      l2{*adapters.front()},
      manager{io.get_executor(), make_config(options, time)}
{
    for (std::size_t i = 0; i < options.adapters; ++i)
        ids.push_back(manager.add_adapter(std::make_unique<scripted_adapter>(adapters[i]), options.adapter));
}

world::~world()
{
    for (auto& s : adapters) { // so that whatever a test left hanging can end
        s->lookups.open();
        s->loads.open();
        s->stores.open();
        s->unlocks.open();
        s->closing.open();
    }
    settle();
}

void world::put(scripted_adapter::script& into, std::string_view objects)
{
    for (const object_key& k : keys(objects))
        into.objects[k.to_string()] = payload(k);
}

void world::write(std::string_view objects)
{
    const auto which = keys(objects);
    auto lease = manager.reserve_write(which, layout);
    for (std::size_t i = 0; i < lease.size(); ++i)
        if (lease.ok(i) == l1_error::none)
            std::ranges::copy(payload(lease.key(i)), lease.bytes(i).begin());
    lease.commit();
    settle();
}

bool world::resident(std::string_view objects)
{
    const auto which = keys(objects);
    return manager.read(which).size() == which.size();
}

void world::settle()
{
    io.restart();
    while (io.poll() != 0)
        io.restart();
}

void world::pass(nanoseconds duration)
{
    settle();
    time->advance(duration);
    settle();
}

asio::awaitable<bool> world::with_value(asio::awaitable<void> work)
{
    co_await std::move(work);
    co_return true;
}

void world::close()
{
    run(manager.close());
    check_nothing_left(*this);
}

void check_nothing_left(world& w)
{
    const auto status = w.manager.status();
    CHECK(status.l1.locks == 0);
    CHECK(status.l1.locked_objects == 0);
    CHECK(status.l1.locked_bytes == 0);
    CHECK(status.l1.staged_bytes == 0);
    CHECK(status.l1.staged_objects == 0);
    CHECK(status.prefetch.in_flight == 0);
    CHECK(status.prefetch.l2_locks == 0);
    CHECK(status.store.in_flight == 0);
    CHECK(status.store.queued_objects == 0);
    CHECK(status.store.queued_bytes == 0);
    CHECK(status.internal_errors == 0);
    for (const auto& s : w.adapters) {
        CHECK(s->total_locks() == 0);
        CHECK(s->in_flight == 0);
    }
}

} // namespace terrace::test
