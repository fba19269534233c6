#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <terrace/adapter_spec.hpp>
#include <terrace/api.hpp>
#include <terrace/l2_adapter.hpp>
#include <terrace/quota_table.hpp>

namespace terrace {

/// How a file_adapter reads and writes.
enum class file_io : std::uint8_t {
    automatic, ///< by io_uring, or by threads where the kernel refuses it
    uring,
    threads,
};

/// When files bypass the page cache (O_DIRECT), which leaves the memory to others and takes less of the processor.
/// Never when a payload's address or size is no multiple of 4096, or the file system refuses.
enum class direct_io : std::uint8_t {
    automatic, ///< from 256 KiB on, unless the file system lies in memory
    on,
    off,
};

/// When an object counts as stored.
enum class file_sync : std::uint8_t {
    none, ///< written: after a power failure it may be missing or damaged, which shows
    data, ///< on the disk: with its name, flushed (fdatasync, and fsync of the folder)
};

/// Where and how a file_adapter stores.
class file_options {
public:
    explicit file_options(std::filesystem::path dir) : directory{std::move(dir)} {}

    std::filesystem::path directory;
    bool make_directory = true;       ///< if it is not there; otherwise that is an error
    std::uint64_t capacity_bytes = 0; ///< of files with their headers, > 4096; 0: what the file system holds
    file_io io = file_io::automatic;
    direct_io direct = direct_io::automatic;
    file_sync sync = file_sync::none;
    std::uint32_t threads = 4;         ///< that open, check, and do what io_uring does not; 1 to 256
    std::uint32_t depth = 64;          ///< of io_uring: reads and writes in the kernel at a time; 1 to 4096
    std::uint64_t in_flight_bytes = 0; ///< of io_uring: in the kernel at a time; 0: finds out what the disk needs
    /// Of io_uring: all of L1 is registered with the kernel, which then holds its pages in memory: for an L1 without
    /// huge pages, where direct reads and writes then cost less of the processor. What the kernel refuses is used as it
    /// is.
    bool register_memory = false;
    std::string eviction = "lru";              ///< a name of eviction_policy::make()
    std::shared_ptr<const quota_table> quotas; ///< of isolated_lru, in bytes of files; null: there are none
};

/// An L2 adapter that keeps each object in a file of its own.
///
/// A file is written under a temporary name and renamed when it is whole, so a reader sees all of an object or nothing.
/// Its header names key, layout fingerprint, length and checksum: what does not fit what was asked for is a miss, is
/// counted, and is removed. The format is in docs/formats/file.md.
///
/// Processes may share a directory: what one stores, the others find at their next lookup. Capacity, locks and list()
/// are each process's own, over what it stored or found.
///
/// Cancelled: load, store and erase leave out the items that they have not begun, and return what was done; a lookup
/// that had to look at the disk throws operation_aborted, and holds no lock.
class TERRACE_API file_adapter final : public l2_adapter, public demotion_source {
public:
    /// Opens the directory and finds what it holds; takes time in proportion. Throws std::invalid_argument for options
    /// that cannot be, std::system_error that names the path if the directory cannot be made, read or written, or that
    /// names io_uring if that was asked for and the kernel refuses.
    explicit file_adapter(file_options options);
    /// Without close(): waits, in the calling thread, for the files that are being read and written.
    ~file_adapter() override;

    asio::awaitable<bitmap> lookup_and_lock(std::span<const object_key> keys) override;
    asio::awaitable<bitmap> load(std::span<const load_item> items) override;
    asio::awaitable<bitmap> store(std::span<const store_item> items) override;
    asio::awaitable<void> unlock(std::span<const object_key> keys) override;
    asio::awaitable<bitmap> erase(std::span<const object_key> keys) override;
    asio::awaitable<key_page> list(list_cursor cursor) override;
    asio::awaitable<std::vector<stored_object>> lock_victims(std::uint64_t objects, std::uint64_t bytes) override;
    void use_memory(std::span<std::byte> l1) override;
    [[nodiscard]] adapter_status status() const override;
    asio::awaitable<void> close() override;

private:
    class TERRACE_LOCAL impl;
    std::shared_ptr<impl> impl_; // shared with the calls under way
};

/// `file:/var/cache/terrace?capacity=20GiB&eviction=s3fifo&direct=on&threads=4`; the README has all options.
[[nodiscard]] TERRACE_API std::unique_ptr<l2_adapter> make_file_adapter(adapter_spec spec);
/// The options of such a text; opens nothing. Throws std::invalid_argument for what cannot be.
[[nodiscard]] TERRACE_API file_options parse_file_options(adapter_spec spec);

} // namespace terrace
