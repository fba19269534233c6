#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <terrace/file_adapter.hpp>

#include "file_format.hpp"
#include "posix_file.hpp"

namespace terrace::file {

/// A file that is being written, under a name that no reader asks for. Removed again, unless published.
///
/// It is locked (flock) while it lives: what scan() finds unlocked was left over by a process that died.
class temporary_file {
public:
    temporary_file(temporary_file&& from) noexcept
        : at_{from.at_},
          path_{std::exchange(from.path_, {})},
          file_{std::move(from.file_)},
          sync_{from.sync_}
    {
    }
    temporary_file& operator=(temporary_file&&) = delete;
    ~temporary_file();

    /// To write to.
    [[nodiscard]] const unique_fd& file() const noexcept { return file_; }

    /// After the last write: what the file system has kept to itself so far comes out, and with file_sync::data what
    /// was written is on the disk.
    [[nodiscard]] boost::system::error_code finish();

    /// Gives the file its name, in the place of what had it. Readers of the old one keep it.
    [[nodiscard]] boost::system::error_code publish(const std::string& path);

private:
    friend class object_directory;
    temporary_file(int at, std::string path, unique_fd file, file_sync sync) noexcept
        : at_{at},
          path_{std::move(path)},
          file_{std::move(file)},
          sync_{sync}
    {
    }

    int at_;
    std::string path_; // empty: published, or moved from
    unique_fd file_;
    file_sync sync_;
};

/// An object's file, open for reading.
struct open_object {
    unique_fd file;
    file_facts facts;
};

/// An object as scan() finds it.
struct found_object {
    object_key key;
    std::uint64_t file_bytes = 0;
    std::int64_t modified_ns = 0;
};

/// What scan() finds.
struct directory_contents {
    std::vector<found_object> objects; ///< the one written first in front
    std::uint64_t removed_objects = 0; ///< too short for a header, or with a damaged one
};

/// The directory of a file_adapter, and how objects lie in it. Every call blocks; any thread.
class object_directory {
public:
    /// Makes the directory if it is not there and the options want that, and a file to see that it can.
    /// Throws std::system_error that names the path.
    explicit object_directory(const file_options& options);

    [[nodiscard]] bool in_memory() const noexcept { return lies_in_memory(root_); }

    /// Finds the objects, and removes what a dead process left half-written. Other people's files are left alone.
    /// Throws std::system_error that names the path, if the directory cannot be read.
    [[nodiscard]] directory_contents scan();

    /// What lies in an object's place. Errors: no_such_file_or_directory, also if it is not a regular file.
    [[nodiscard]] result<file_facts> look_at(const std::string& path) const;
    [[nodiscard]] result<open_object> open(const std::string& path) const;
    [[nodiscard]] boost::system::error_code remove(const std::string& path) const;

    /// A temporary file in the folder where `path` will lie, which is made if it is not there.
    [[nodiscard]] result<temporary_file> make_temporary(const std::string& path);

    /// With file_sync::data: after publish(), the name is on the disk.
    [[nodiscard]] boost::system::error_code make_durable(const std::string& path);

private:
    [[nodiscard]] unique_fd create(const std::string& path) const;
    [[nodiscard]] boost::system::error_code make_folder(const std::string& folder);
    void scan_folder(const std::string& folder, directory_contents& contents);
    void remove_if_left_over(const std::string& path) const;
    [[noreturn]] void fail(boost::system::error_code why, const char* what, const std::string& where) const;

    std::filesystem::path path_;
    unique_fd root_;
    const file_sync sync_;
    std::mutex root_mutex_;   // for what follows, and what makes it true
    bool root_is_new_ = true; // holds names that were perhaps never flushed
    std::uint64_t id_;        // of this object among all that write here: random
    std::atomic<std::uint64_t> last_temporary_ = 0;
};

} // namespace terrace::file
