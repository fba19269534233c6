#include <terrace/file_adapter.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/asio/error.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/system/system_error.hpp>
#include <fmt/format.h>
#include <mutex>
#include <stdexcept>

#include <terrace/io/disk_io.hpp>
#include <terrace/object_index.hpp>

#include "file_format.hpp"
#include "object_directory.hpp"

namespace terrace {

using boost::system::error_code;
namespace condition = boost::system::errc;

namespace {

file_options checked(file_options options)
{
    if (options.directory.empty())
        throw std::invalid_argument("file adapter: the directory is empty, expected a path");
    if (options.threads < 1 || options.threads > 256)
        throw std::invalid_argument(fmt::format("file adapter: threads is {}, expected 1 to 256", options.threads));
    if (options.capacity_bytes != 0 && options.capacity_bytes <= file::header_bytes)
        throw std::invalid_argument(fmt::format("file adapter: capacity is {} bytes, expected more than {}, or 0",
                                                options.capacity_bytes, file::header_bytes));
    (void)eviction_policy::make(options.eviction); // refuses an unknown name before the directory is made
    return options;
}

io::disk_io_options io_options(const file_options& options)
{
    io::disk_io_options io;
    io.threads = options.threads;
    return io;
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

/// Answers as threads give them: each its own byte, where a bitmap's bits would share words.
using answers = std::vector<char>;

bitmap to_bitmap(const answers& given)
{
    bitmap bits{given.size()};
    for (std::size_t i = 0; i < given.size(); ++i)
        bits.set(i, given[i] != 0);
    return bits;
}

/// What came of reading a file that can be read.
enum class outcome : std::uint8_t {
    loaded,
    damaged, ///< or of another key or layout
};

/// To look whether a file is there takes about a microsecond, to wake a thread several.
constexpr std::size_t lookups_per_turn = 32;

} // namespace

/// The adapter behind its pointer: coroutines on the caller's executor, which cross to `disk_` with a batch, and what
/// they do there with each item.
class file_adapter::impl : public std::enable_shared_from_this<impl> {
public:
    explicit impl(file_options options);

    asio::awaitable<bitmap> lookup_and_lock(std::span<const object_key> keys);
    asio::awaitable<bitmap> load(std::span<const load_item> items);
    asio::awaitable<bitmap> store(std::span<const store_item> items);
    asio::awaitable<void> unlock(std::span<const object_key> keys);
    asio::awaitable<bitmap> erase(std::span<const object_key> keys);
    asio::awaitable<std::vector<stored_object>> lock_victims(std::uint64_t objects, std::uint64_t bytes);
    asio::awaitable<key_page> list(list_cursor cursor);
    [[nodiscard]] adapter_status status() const;
    asio::awaitable<void> close();
    void stop() noexcept { disk_->stop(); }

private:
    class operation;
    class room;

    // On the pool's threads.
    bool load_one(const load_item& item);
    bool store_one(const store_item& item);
    bool erase_one(const object_key& key);
    bool look_on_disk(const object_key& key);
    bool keep(const store_item& item);
    [[nodiscard]] std::optional<memory_layout> stored_layout(const object_key& key) const;
    result<outcome> read(const load_item& item, const std::string& path);
    error_code write(const store_item& item, room& taken);
    void remove_damaged(const object_key& key, const std::string& path, const file::file_facts& read);
    void remove_evicted(std::span<const object_key> keys);

    // On any thread.
    [[nodiscard]] std::vector<object_key> unknown(std::span<const object_key> keys) const;
    bitmap lock(std::span<const object_key> keys);
    void touch(std::span<const load_item> items, const answers& loaded);
    void order(std::span<const store_item> items, const answers& stored);
    [[nodiscard]] std::mutex& name_of(const object_key& key) { return names_[key.hash_code() % names_.size()]; }
    void note_problem(std::string what);
    void note_failed_store(std::string what);

    const file_options options_;
    file::object_directory directory_;
    std::atomic<std::uint64_t> in_flight_ = 0;
    std::atomic<bool> closed_ = false;
    std::atomic<bool> last_load_failed_ = false;  // by the disk: a miss is no failure, nor is
    std::atomic<bool> last_store_failed_ = false; // want of capacity

    /// What changes a file's name holds the mutex of its key, so that the index follows the disk. Taken before mutex_.
    std::array<std::mutex, 64> names_;

    mutable std::mutex mutex_; // for what follows; never held over a system call
    object_index index_;
    std::uint64_t evicted_objects_ = 0;
    std::uint64_t corrupt_objects_ = 0;
    std::uint64_t failed_stores_ = 0;
    std::uint64_t kept_objects_ = 0;
    std::string problem_;

    std::unique_ptr<io::disk_io> disk_; // last: its threads use all of the above
};

/// One call: keeps the adapter's state, and shows in its status.
class file_adapter::impl::operation {
public:
    explicit operation(std::shared_ptr<impl> owner) : owner_{std::move(owner)}
    {
        if (owner_->closed_)
            throw boost::system::system_error(errc::closed, "file adapter");
        ++owner_->in_flight_;
    }
    operation(const operation&) = delete;
    operation& operator=(const operation&) = delete;
    ~operation() { --owner_->in_flight_; }

private:
    std::shared_ptr<impl> owner_;
};

/// Room in the capacity for one file; given back, unless the file was published in it.
class file_adapter::impl::room {
public:
    room(impl& owner, std::uint64_t bytes) : owner_{owner}, bytes_{bytes}
    {
        const std::lock_guard lock{owner_.mutex_};
        object_index::room made = owner_.index_.make_room(bytes);
        evicted_ = std::move(made.evicted);
        taken_ = made.granted;
        owner_.evicted_objects_ += evicted_.size();
    }
    room(const room&) = delete;
    room& operator=(const room&) = delete;
    ~room()
    {
        if (!taken_)
            return;
        const std::lock_guard lock{owner_.mutex_};
        owner_.index_.give_back(bytes_);
    }

    [[nodiscard]] bool taken() const noexcept { return taken_; }
    /// Taken or not, their files are to be removed.
    [[nodiscard]] std::span<const object_key> evicted() const { return evicted_; }
    void insert(const object_key& key)
    {
        const std::lock_guard lock{owner_.mutex_};
        owner_.index_.insert(key, bytes_);
        taken_ = false;
    }

private:
    impl& owner_;
    const std::uint64_t bytes_;
    std::vector<object_key> evicted_;
    bool taken_ = false;
};

file_adapter::impl::impl(file_options options)
    : options_{checked(std::move(options))},
      directory_{options_.directory},
      index_{options_.capacity_bytes, eviction_policy::make(options_.eviction, options_.quotas)},
      disk_{io::disk_io::make(io_options(options_))}
{
    const file::directory_contents contents = directory_.scan();
    corrupt_objects_ = contents.removed_objects;
    for (const file::found_object& object : contents.objects)
        index_.restore(object.key, object.file_bytes);
    const room none{*this, 0}; // the capacity may have been larger
    remove_evicted(none.evicted());
}

// ---- lookup ----

asio::awaitable<bitmap> file_adapter::impl::lookup_and_lock(std::span<const object_key> keys)
{
    const operation running{shared_from_this()};
    const std::vector<object_key> strange = unknown(keys);
    if (!strange.empty()) {
        const std::function<void(std::size_t)> look = [&](std::size_t i) { look_on_disk(strange[i]); };
        co_await disk_->for_each(strange.size(), lookups_per_turn, look);
        const asio::cancellation_state state = co_await asio::this_coro::cancellation_state;
        if (state.cancelled() != asio::cancellation_type::none) // whoever cancelled may drop the answer: no locks
            throw boost::system::system_error(asio::error::operation_aborted);
    }
    co_return lock(keys);
}

std::vector<object_key> file_adapter::impl::unknown(std::span<const object_key> keys) const
{
    std::vector<object_key> strange;
    const std::lock_guard lock{mutex_};
    std::ranges::copy_if(keys, std::back_inserter(strange), [&](const object_key& key) { return !index_.find(key); });
    return strange;
}

bitmap file_adapter::impl::lock(std::span<const object_key> keys)
{
    bitmap found{keys.size()};
    const std::lock_guard lock{mutex_};
    for (std::size_t i = 0; i < keys.size(); ++i)
        found.set(i, index_.lock(keys[i]));
    return found;
}

/// Makes the index say of the key what the disk says: another process may have been there.
bool file_adapter::impl::look_on_disk(const object_key& key)
{
    const std::string path = file::path_of(key);
    const std::lock_guard name{name_of(key)};
    const result<file::file_facts> facts = directory_.look_at(path);
    const bool whole = facts && facts->bytes > file::header_bytes;
    const bool removed = facts && !whole && !directory_.remove(path);

    const std::lock_guard lock{mutex_};
    corrupt_objects_ += removed ? 1 : 0;
    if (!whole)
        index_.erase(key);
    else if (index_.find(key) != facts->bytes)
        index_.restore(key, facts->bytes);
    return whole;
}

asio::awaitable<void> file_adapter::impl::unlock(std::span<const object_key> keys)
{
    const operation running{shared_from_this()};
    const std::lock_guard lock{mutex_};
    for (std::size_t i = keys.size(); i-- != 0;) // the tail of a prefix is to go before its head
        index_.unlock(keys[i]);
    co_return;
}

// ---- load ----

asio::awaitable<bitmap> file_adapter::impl::load(std::span<const load_item> items)
{
    const operation running{shared_from_this()};
    answers loaded(items.size());
    const std::function<void(std::size_t)> load_item = [&](std::size_t i) { loaded[i] = load_one(items[i]); };
    co_await disk_->for_each(items.size(), 1, load_item);
    touch(items, loaded);
    co_return to_bitmap(loaded);
}

bool file_adapter::impl::load_one(const load_item& item)
{
    const std::string path = file::path_of(item.key);
    const result<outcome> read_as = read(item, path);
    if (!read_as && read_as.error() == condition::no_such_file_or_directory) {
        look_on_disk(item.key); // gone since the lookup: a miss, not a failure
        return false;
    }
    last_load_failed_ = !read_as;
    if (!read_as)
        note_problem(fmt::format("loading {}: {}", path, read_as.error().message()));
    return read_as && *read_as == outcome::loaded;
}

/// Reads the object, and removes it if it is not as it was stored.
result<outcome> file_adapter::impl::read(const load_item& item, const std::string& path)
{
    const result<file::unique_fd> file = directory_.open(path);
    if (!file)
        return file.error();
    const result<file::file_facts> facts = file::look_at(*file);
    if (!facts)
        return facts.error();
    if (facts->bytes == file::header_bytes + item.bytes.size()) {
        file::header_page header;
        const result<std::uint64_t> bytes = file::read_from_start(*file, header, item.bytes);
        if (!bytes)
            return bytes.error();
        if (*bytes == facts->bytes && header == file::make_header(item.key, item.layout, item.bytes))
            return outcome::loaded;
    }
    remove_damaged(item.key, path, *facts);
    return outcome::damaged;
}

/// Removes what was read and was not what was asked for, unless another object has taken its place since.
void file_adapter::impl::remove_damaged(const object_key& key, const std::string& path, const file::file_facts& read)
{
    const std::lock_guard name{name_of(key)};
    const result<file::file_facts> now = directory_.look_at(path);
    if (!now || !now->is_same_file(read))
        return;
    const error_code failed = directory_.remove(path);

    const std::lock_guard lock{mutex_};
    ++corrupt_objects_;
    index_.erase(key);
    if (failed)
        problem_ = fmt::format("removing the damaged {}: {}", path, failed.message());
}

void file_adapter::impl::touch(std::span<const load_item> items, const answers& loaded)
{
    const std::lock_guard lock{mutex_};
    for (std::size_t i = items.size(); i-- != 0;) // as in unlock()
        if (loaded[i] != 0)
            index_.touch(items[i].key);
}

// ---- store ----

asio::awaitable<bitmap> file_adapter::impl::store(std::span<const store_item> items)
{
    const operation running{shared_from_this()};
    answers stored(items.size());
    const std::function<void(std::size_t)> store_item = [&](std::size_t i) { stored[i] = store_one(items[i]); };
    co_await disk_->for_each(items.size(), 1, store_item);
    order(items, stored);
    co_return to_bitmap(stored);
}

/// As if the batch had been stored from its last item to its first, in whatever order the threads did.
void file_adapter::impl::order(std::span<const store_item> items, const answers& stored)
{
    const std::lock_guard lock{mutex_};
    for (std::size_t i = items.size(); i-- != 0;)
        if (stored[i] != 0)
            index_.make_latest(items[i].key);
}

bool file_adapter::impl::store_one(const store_item& item)
{
    if (item.mode == store_mode::if_absent && keep(item))
        return true;
    const std::uint64_t bytes = file::header_bytes + item.bytes.size();
    room taken{*this, bytes};
    remove_evicted(taken.evicted());
    if (!taken.taken()) {
        note_failed_store(fmt::format("storing {}: no room for {} bytes beside what is locked or being stored, or may "
                                      "not be evicted, capacity {}",
                                      item.key.to_string(), bytes, options_.capacity_bytes));
        return false;
    }
    const error_code failed = write(item, taken);
    last_store_failed_ = failed.failed();
    if (failed)
        note_failed_store(fmt::format("storing {}: {}", item.key.to_string(), failed.message()));
    return !failed;
}

/// Whether the object is there already, be it another process's, and stays. Its payload is not read.
bool file_adapter::impl::keep(const store_item& item)
{
    if (stored_layout(item.key) != item.layout || !look_on_disk(item.key))
        return false;
    const std::lock_guard lock{mutex_};
    ++kept_objects_;
    return true;
}

/// What the file of this key says of its layout; nothing if there is none, or it is not whole.
std::optional<memory_layout> file_adapter::impl::stored_layout(const object_key& key) const
{
    const result<file::unique_fd> file = directory_.open(file::path_of(key));
    if (!file)
        return std::nullopt;
    file::header_page header;
    const result<std::uint64_t> bytes = file::read_from_start(*file, header, {});
    if (!bytes || *bytes != header.size() || file::key_of(header) != key)
        return std::nullopt;
    std::optional<memory_layout> layout = file::layout_of(header);
    const result<file::file_facts> facts = file::look_at(*file);
    if (!facts || facts->bytes != file::header_bytes + layout->size_bytes())
        return std::nullopt;
    return layout;
}

error_code file_adapter::impl::write(const store_item& item, room& taken)
{
    const std::string path = file::path_of(item.key);
    const file::header_page header = file::make_header(item.key, item.layout, item.bytes);
    result<file::temporary_file> draft = directory_.make_temporary(path);
    if (!draft)
        return draft.error();
    if (const error_code failed = draft->write(header, item.bytes))
        return failed;

    const std::lock_guard name{name_of(item.key)};
    if (const error_code failed = draft->publish(path))
        return failed;
    taken.insert(item.key);
    return {};
}

void file_adapter::impl::remove_evicted(std::span<const object_key> keys)
{
    for (const object_key& key : keys) {
        const std::string path = file::path_of(key);
        const std::lock_guard name{name_of(key)};
        {
            const std::lock_guard lock{mutex_};
            if (index_.find(key))
                continue; // stored again since
        }
        const error_code failed = directory_.remove(path);
        if (failed && failed != condition::no_such_file_or_directory)
            note_problem(fmt::format("evicting {}: {}", path, failed.message()));
    }
}

asio::awaitable<std::vector<stored_object>> file_adapter::impl::lock_victims(std::uint64_t objects, std::uint64_t bytes)
{
    const operation running{shared_from_this()};
    std::vector<object_key> keys;
    {
        const std::lock_guard lock{mutex_};
        for (const auto& victim : index_.lock_victims(bytes + objects * file::header_bytes))
            keys.push_back(victim.key);
    }
    std::vector<std::optional<memory_layout>> layouts(keys.size());
    const std::function<void(std::size_t)> look = [&](std::size_t i) { layouts[i] = stored_layout(keys[i]); };
    co_await disk_->for_each(keys.size(), 1, look);
    const asio::cancellation_state state = co_await asio::this_coro::cancellation_state;
    const bool cancelled = state.cancelled() != asio::cancellation_type::none;

    std::vector<stored_object> victims;
    const std::lock_guard lock{mutex_};
    for (std::size_t i = 0; i < keys.size(); ++i) {
        if (layouts[i] && !cancelled)
            victims.emplace_back(keys[i], std::move(*layouts[i]));
        else
            index_.unlock(keys[i]); // damaged, or removed by another process: nothing to move
    }
    if (cancelled)
        throw boost::system::system_error(asio::error::operation_aborted);
    co_return victims;
}

// ---- the rest ----

asio::awaitable<bitmap> file_adapter::impl::erase(std::span<const object_key> keys)
{
    const operation running{shared_from_this()};
    answers erased(keys.size());
    const std::function<void(std::size_t)> erase_key = [&](std::size_t i) { erased[i] = erase_one(keys[i]); };
    co_await disk_->for_each(keys.size(), 1, erase_key);
    co_return to_bitmap(erased);
}

bool file_adapter::impl::erase_one(const object_key& key)
{
    const std::string path = file::path_of(key);
    const std::lock_guard name{name_of(key)};
    {
        const std::lock_guard lock{mutex_};
        if (index_.locked(key))
            return false;
        index_.erase(key);
    }
    const error_code failed = directory_.remove(path);
    if (!failed)
        return true;
    if (failed != condition::no_such_file_or_directory)
        note_problem(fmt::format("erasing {}: {}", path, failed.message()));
    return false; // still there, it is found again by the next lookup
}

asio::awaitable<key_page> file_adapter::impl::list(list_cursor cursor)
{
    const operation running{shared_from_this()};
    const std::lock_guard lock{mutex_};
    co_return index_.list(cursor);
}

adapter_status file_adapter::impl::status() const
{
    adapter_status now;
    now.name = "file:" + options_.directory.string();
    now.capacity_bytes = options_.capacity_bytes;
    now.in_flight = in_flight_;
    const std::lock_guard lock{mutex_};
    now.health = last_load_failed_ || last_store_failed_ ? adapter_health::degraded : adapter_health::healthy;
    now.problem = problem_;
    now.objects = index_.objects();
    now.used_bytes = index_.used_bytes();
    now.locked_objects = index_.locked_objects();
    now.evicted_objects = evicted_objects_;
    now.corrupt_objects = corrupt_objects_;
    now.failed_stores = failed_stores_;
    now.kept_objects = kept_objects_;
    return now;
}

asio::awaitable<void> file_adapter::impl::close()
{
    const auto self = shared_from_this();
    closed_ = true;
    co_await disk_->close();
    const std::lock_guard lock{mutex_};
    index_.unlock_all();
}

void file_adapter::impl::note_problem(std::string what)
{
    const std::lock_guard lock{mutex_};
    problem_ = std::move(what);
}

void file_adapter::impl::note_failed_store(std::string what)
{
    const std::lock_guard lock{mutex_};
    ++failed_stores_;
    problem_ = std::move(what);
}

// ---- the door ----

file_adapter::file_adapter(file_options options) : impl_{std::make_shared<impl>(std::move(options))} {}

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

adapter_status file_adapter::status() const
{
    return impl_->status();
}

asio::awaitable<void> file_adapter::close()
{
    return impl_->close();
}

std::unique_ptr<l2_adapter> make_file_adapter(adapter_spec spec)
{
    if (spec.place().empty())
        spec.reject_place("expected a directory");
    file_options options{spec.place()};
    options.capacity_bytes = spec.take_bytes("capacity").value_or(options.capacity_bytes);
    options.eviction = spec.take("eviction").value_or(options.eviction);
    options.threads = static_cast<std::uint32_t>(
        std::min<std::uint64_t>(spec.take_count("threads").value_or(options.threads), UINT32_MAX));
    spec.expect_all_taken();
    return std::make_unique<file_adapter>(std::move(options));
}

} // namespace terrace
