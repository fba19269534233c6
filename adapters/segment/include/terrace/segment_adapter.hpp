#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <terrace/adapter_spec.hpp>
#include <terrace/api.hpp>
#include <terrace/clock.hpp>
#include <terrace/l2_adapter.hpp>

namespace terrace {

/// What an object has been through when its store is acknowledged.
enum class segment_sync : std::uint8_t {
    none, ///< written: it survives the death of the process, not that of the machine
    data, ///< on the disk as well: one fdatasync for all that was written together
};

/// What becomes of a file or device that holds something else than segments.
enum class foreign_content : std::uint8_t {
    refuse,    ///< the constructor throws
    overwrite, ///< it is lost
};

/// Where and how a segment_adapter stores.
class segment_options {
public:
    explicit segment_options(std::filesystem::path where) : place{std::move(where)} {}

    /// A directory; or a file or a block device that is there, and is filled as large as it is. One process at a time.
    std::filesystem::path place;
    bool make_directory = true;       ///< if nothing is there; otherwise that is an error
    std::uint64_t capacity_bytes = 0; ///< of a whole directory, >= 1 MiB; 0: what the file system holds. Not of a file
    /// Of one segment, >= 64 KiB. 0: 256 MiB, or an eighth of the capacity; of a file that has segments, their size.
    std::uint64_t segment_bytes = 0;
    foreign_content foreign = foreign_content::refuse; ///< of a file or a device
    segment_sync sync = segment_sync::none;            ///< when a store is acknowledged
    std::uint32_t threads = 4;                         ///< for checksums and what blocks; 1 to 256
    std::string io = "auto";                           ///< "uring", "threads", or the better one that works
    /// Of io_uring: all of L1 is registered with the kernel, which then holds its pages in memory: for an L1 without
    /// huge pages, where reads and writes then cost less of the processor. What the kernel refuses is used as it is.
    bool register_memory = false;
    /// When it may try again to make a segment that the file system refused. Null: the machine's steady clock.
    std::shared_ptr<terrace::clock> clock = nullptr;
};

/// An L2 adapter that appends objects to large segments of a fixed size: for local NVMe.
///
/// Records describe themselves, so that whatever a crash left is found again: docs/formats/segment.md. Stores that
/// arrive together are written together. Full, it frees the segment that was filled first, and writes again what of
/// it was loaded since or is locked.
///
/// Cancelled: load and store leave out the items that they have not begun, and return what was done; erase finishes.
class TERRACE_API segment_adapter final : public l2_adapter, public demotion_source {
public:
    /// Opens the place and finds what it holds: from a directory's snapshot after a close(), otherwise by reading the
    /// header of every record. Throws std::invalid_argument for options that cannot be and for foreign content,
    /// std::system_error that names the path if it cannot be made, read or written, or another process has it.
    explicit segment_adapter(segment_options options);
    /// Without close(): waits, in the calling thread, for what is being read and written.
    ~segment_adapter() override;

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

/// `segment:/var/cache/terrace?capacity=20GiB&segment=256MiB&sync=none&threads=4&io=auto&register=off&make=on`
/// `segment:/dev/nvme0n1?segment=256MiB&foreign=refuse`
[[nodiscard]] TERRACE_API std::unique_ptr<l2_adapter> make_segment_adapter(adapter_spec spec);
/// The options of such a text; opens nothing. Throws std::invalid_argument for what cannot be: of a directory, unless a
/// file or a device is there.
[[nodiscard]] TERRACE_API segment_options parse_segment_options(adapter_spec spec);

} // namespace terrace
