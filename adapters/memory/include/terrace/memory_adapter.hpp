#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <terrace/adapter_spec.hpp>
#include <terrace/api.hpp>
#include <terrace/clock.hpp>
#include <terrace/l2_adapter.hpp>
#include <terrace/quota_table.hpp>

namespace terrace {

/// How a memory_adapter behaves.
class memory_options {
public:
    memory_options() = default;

    std::uint64_t capacity_bytes = 0;             ///< of payload; 0: no limit
    std::string eviction = "lru";                 ///< a name of eviction_policy::make()
    std::shared_ptr<const quota_table> quotas;    ///< of isolated_lru; null: there are none
    nanoseconds latency{0};                       ///< added to each lookup, load, store and erase
    std::uint64_t bandwidth_bytes_per_second = 0; ///< shared by loads and stores; 0: as fast as memcpy
    std::shared_ptr<terrace::clock> clock;        ///< for latency and bandwidth; null: the machine's
};

/// An L2 adapter that keeps its objects in a map: for tests, demonstrations, and as a model of a slower store.
///
/// Full, it evicts by its policy what is not locked. Objects of up to 4 KiB share memory that stays with the adapter;
/// larger ones come from the heap, those of 4 MiB and more from the kernel, in huge pages where it has them.
class TERRACE_API memory_adapter final : public l2_adapter, public demotion_source {
public:
    explicit memory_adapter(memory_options options = {});
    ~memory_adapter() override;

    asio::awaitable<bitmap> lookup_and_lock(std::span<const object_key> keys) override;
    asio::awaitable<bitmap> load(std::span<const load_item> items) override;
    asio::awaitable<bitmap> store(std::span<const store_item> items) override;
    asio::awaitable<void> unlock(std::span<const object_key> keys) override;
    asio::awaitable<bitmap> erase(std::span<const object_key> keys) override;
    asio::awaitable<key_page> list(list_cursor cursor) override;
    asio::awaitable<std::vector<stored_object>> lock_victims(std::uint64_t objects, std::uint64_t bytes) override;
    [[nodiscard]] adapter_status status() const override;
    asio::awaitable<void> close() override;

private:
    class TERRACE_LOCAL impl;
    std::unique_ptr<impl> impl_;
};

/// `memory:?capacity=1GiB&eviction=s3fifo&latency=50us&bandwidth=2GiB`; bandwidth in bytes per second.
[[nodiscard]] TERRACE_API std::unique_ptr<l2_adapter> make_memory_adapter(adapter_spec spec);
/// The options of such a text; opens nothing.
[[nodiscard]] TERRACE_API memory_options parse_memory_options(adapter_spec spec);

} // namespace terrace
