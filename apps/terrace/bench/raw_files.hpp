#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "bench/data.hpp"
#include "bench/raw_ring.hpp"

namespace terrace::bench {

/// What a file system gives to a program that does nothing but read and write: the ceiling of whatever keeps objects
/// in files.
///
/// Through the page cache it is fio's, as a child process, where that is installed, and otherwise that of a few threads
/// of our own. Past it, it is the better one of fio and a bare io_uring: fio has no huge pages under its buffers as L1
/// has, and of small pages a disk takes fewer bytes at a time. One transfer moves one object.
class raw_files {
public:
    enum class cache : std::uint8_t { page_cache, direct };
    enum class arrangement : std::uint8_t {
        a_file_each, ///< writing makes them anew
        one_file,    ///< of all objects; writing overwrites it
    };
    /// depth  transfers at a time; 0: as many as turn out to be best
    raw_files(std::filesystem::path directory, cache how, arrangement layout, std::size_t objects,
              std::size_t object_bytes, std::size_t depth = 0);
    raw_files(const raw_files&) = delete;
    raw_files& operator=(const raw_files&) = delete;
    ~raw_files(); ///< removes the directory

    /// GiB/s of all objects, read so many times over. Throws std::runtime_error if it cannot be done.
    double read(std::size_t passes);
    /// GiB/s of all objects, written once.
    double write();

    /// "fio io_uring, depth 8", for the direction that was measured last.
    [[nodiscard]] const std::string& name() const noexcept { return name_; }

private:
    /// How many at a time, by whom.
    struct setting {
        std::string engine; // of fio; "ring": our own io_uring; empty: our own threads
        std::size_t depth = 1;
        std::size_t jobs = 1;

        [[nodiscard]] std::string to_string() const;
    };
    [[nodiscard]] std::vector<setting> candidates(std::size_t depth) const;
    double best_of(raw_direction way, std::vector<setting>& settings, std::size_t passes);
    double transfer(raw_direction way, const setting& how, std::size_t passes);
    double by_fio(raw_direction way, const setting& how, std::size_t passes);
    double by_threads(raw_direction way, const setting& how, std::size_t passes);
    double by_ring(raw_direction way, const setting& how, std::size_t passes);

    /// Of our own transfers: the file of an object, and where it is in it.
    [[nodiscard]] std::filesystem::path path(std::size_t object) const;
    [[nodiscard]] std::size_t offset(std::size_t object) const;
    void make_files(raw_direction way) const; // those to be read or overwritten are there, the others are not

    std::filesystem::path directory_;
    cache cache_;
    arrangement layout_;
    std::size_t objects_;
    std::size_t object_bytes_;
    std::vector<setting> read_settings_; // one, once the best is known
    std::vector<setting> write_settings_;
    std::string name_;
    std::optional<object_pool> memory_; // of the ring
};

/// The microseconds that it takes to make a file of so many bytes under another name and to rename it.
double write_and_rename_us(const std::filesystem::path& directory, std::size_t bytes, bool direct);

} // namespace terrace::bench
