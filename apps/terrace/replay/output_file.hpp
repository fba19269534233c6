#pragma once

#include <filesystem>
#include <fstream>
#include <iosfwd>

namespace terrace::replay {

/// A file that appears whole or not at all: written under a temporary name beside it, and renamed by commit().
///
/// A path that exists and is no plain file, as a pipe, a link or /dev/null, is written to directly.
class output_file {
public:
    /// Opens it, so that one that cannot be written is known before the work starts. Throws std::system_error that
    /// names the path.
    explicit output_file(std::filesystem::path path);
    output_file(const output_file&) = delete;
    output_file& operator=(const output_file&) = delete;
    ~output_file(); ///< removes what was not committed

    [[nodiscard]] std::ostream& stream() noexcept { return out_; }

    /// Throws std::system_error that names the path if not everything could be written; the path is then untouched.
    void commit();

private:
    [[noreturn]] void fail(const char* what) const;

    std::filesystem::path path_;
    std::filesystem::path temporary_; // empty: written directly, or committed
    std::ofstream out_;
};

} // namespace terrace::replay
