#include <terrace/file_adapter.hpp>

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "file_adapter_impl.hpp"

namespace terrace {

namespace {

file_options checked(file_options options)
{
    if (options.directory.empty())
        throw std::invalid_argument("file adapter: the directory is empty, expected a path");
    if (options.threads < 1 || options.threads > 256)
        throw std::invalid_argument(fmt::format("file adapter: threads is {}, expected 1 to 256", options.threads));
    if (options.depth < 1 || options.depth > 4096)
        throw std::invalid_argument(fmt::format("file adapter: depth is {}, expected 1 to 4096", options.depth));
    if (options.capacity_bytes != 0 && options.capacity_bytes <= file::header_bytes)
        throw std::invalid_argument(fmt::format("file adapter: capacity is {} bytes, expected more than {}, or 0",
                                                options.capacity_bytes, file::header_bytes));
    (void)eviction_policy::make(options.eviction); // refuses an unknown name before the directory is made
    return options;
}

void check(std::span<const object_key> keys)
{
    if (std::ranges::any_of(keys, &object_key::empty))
        throw std::invalid_argument("file adapter: empty key");
}

template <class Item>
void check(std::span<const Item> items)
{
    for (const Item& item : items) {
        if (item.key.empty())
            throw std::invalid_argument("file adapter: empty key");
        if (item.bytes.empty() || item.bytes.size() != item.layout.size_bytes())
            throw std::invalid_argument(fmt::format("file adapter: {}: a buffer of {} bytes, expected {}, and not 0",
                                                    item.key.to_string(), item.bytes.size(), item.layout.size_bytes()));
    }
}

std::uint32_t take_small_count(adapter_spec& spec, const char* option, std::uint32_t otherwise)
{
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(spec.take_count(option).value_or(otherwise), UINT32_MAX));
}

/// The value that goes by the name that the option was given; the first if it was not.
template <class Value, std::size_t count>
Value take_named(adapter_spec& spec, const char* option, const std::array<std::pair<const char*, Value>, count>& values)
{
    const std::optional<std::string> given = spec.take(option);
    std::string expected;
    for (const auto& [name, value] : values) {
        if (!given || *given == name)
            return value;
        expected += (expected.empty() ? "" : ", ") + std::string{name};
    }
    throw std::invalid_argument(
        fmt::format("{:?}: {} is {:?}, expected one of {}", spec.text(), option, *given, expected));
}

} // namespace

file_adapter::file_adapter(file_options options) : impl_{std::make_shared<impl>(checked(std::move(options)))} {}

file_adapter::~file_adapter()
{
    impl_->stop();
}

asio::awaitable<bitmap> file_adapter::lookup_and_lock(std::span<const object_key> keys)
{
    check(keys);
    return impl_->lookup_and_lock(keys);
}

asio::awaitable<bitmap> file_adapter::load(std::span<const load_item> items)
{
    check(items);
    return impl_->load(items);
}

asio::awaitable<bitmap> file_adapter::store(std::span<const store_item> items)
{
    check(items);
    return impl_->store(items);
}

asio::awaitable<void> file_adapter::unlock(std::span<const object_key> keys)
{
    return impl_->unlock(keys);
}

asio::awaitable<bitmap> file_adapter::erase(std::span<const object_key> keys)
{
    check(keys);
    return impl_->erase(keys);
}

asio::awaitable<std::vector<stored_object>> file_adapter::lock_victims(std::uint64_t objects, std::uint64_t bytes)
{
    return impl_->lock_victims(objects, bytes);
}

asio::awaitable<key_page> file_adapter::list(list_cursor cursor)
{
    return impl_->list(std::move(cursor));
}

void file_adapter::use_memory(std::span<std::byte> l1)
{
    impl_->use_memory(l1);
}

adapter_status file_adapter::status() const
{
    return impl_->status();
}

asio::awaitable<void> file_adapter::close()
{
    return impl_->close();
}

file_options parse_file_options(adapter_spec spec)
{
    if (spec.place().empty())
        spec.reject_place("expected a directory");
    file_options options{spec.place()};
    options.capacity_bytes = spec.take_bytes("capacity").value_or(options.capacity_bytes);
    options.eviction = spec.take("eviction").value_or(options.eviction);
    options.io = take_named<file_io, 3>(
        spec, "io", {{{"auto", file_io::automatic}, {"uring", file_io::uring}, {"threads", file_io::threads}}});
    options.direct = take_named<direct_io, 3>(
        spec, "direct", {{{"auto", direct_io::automatic}, {"on", direct_io::on}, {"off", direct_io::off}}});
    options.sync = take_named<file_sync, 2>(spec, "sync", {{{"none", file_sync::none}, {"data", file_sync::data}}});
    options.threads = take_small_count(spec, "threads", options.threads);
    options.depth = take_small_count(spec, "depth", options.depth);
    options.in_flight_bytes = spec.take_bytes("inflight").value_or(options.in_flight_bytes);
    options.make_directory = take_named<bool, 2>(spec, "make", {{{"on", true}, {"off", false}}});
    options.register_memory = take_named<bool, 2>(spec, "register", {{{"off", false}, {"on", true}}});
    spec.expect_all_taken();
    return checked(std::move(options));
}

std::unique_ptr<l2_adapter> make_file_adapter(adapter_spec spec)
{
    return std::make_unique<file_adapter>(parse_file_options(std::move(spec)));
}

} // namespace terrace
