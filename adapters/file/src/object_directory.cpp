#include "object_directory.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <fmt/format.h>
#include <random>
#include <sys/file.h>
#include <sys/stat.h>
#include <system_error>
#include <tuple>
#include <unistd.h>

#include <terrace/io/directories.hpp>

namespace terrace::file {

using boost::system::error_code;
namespace condition = boost::system::errc;

namespace {

constexpr std::string_view temporary_prefix = ".terrace-";
constexpr std::string_view temporary_suffix = ".tmp";

/// ".terrace-0123456789abcdef-42.tmp": the writer's random number, and a count.
std::string temporary_name(std::uint64_t id, std::uint64_t number)
{
    return fmt::format("{}{:016x}-{}{}", temporary_prefix, id, number, temporary_suffix);
}

bool is_temporary_name(std::string_view name)
{
    if (!name.starts_with(temporary_prefix) || !name.ends_with(temporary_suffix))
        return false;
    name.remove_prefix(temporary_prefix.size());
    name.remove_suffix(temporary_suffix.size());
    const auto consists_of = [](std::string_view text, std::string_view digits) {
        return text.find_first_not_of(digits) == std::string_view::npos;
    };
    return name.size() > 17 && name[16] == '-' && consists_of(name.substr(0, 16), "0123456789abcdef") &&
           consists_of(name.substr(17), "0123456789");
}

std::uint64_t random_number()
{
    std::random_device device;
    return std::uint64_t{device()} << 32 | device();
}

} // namespace

temporary_file::~temporary_file()
{
    if (!path_.empty())
        std::ignore = unlink(at_, path_); // what cannot be removed now, a later scan() removes
}

error_code temporary_file::finish()
{
    if (sync_ == file_sync::data && ::fdatasync(file_.get()) != 0)
        return last_error();
    // A network file system may keep "disk full" to itself until a descriptor is closed. Not this one: it has the lock.
    const int twin = ::fcntl(file_.get(), F_DUPFD_CLOEXEC, 0);
    if (twin == -1 || ::close(twin) != 0)
        return last_error();
    return {};
}

error_code temporary_file::publish(const std::string& path)
{
    if (::renameat(at_, path_.c_str(), at_, path.c_str()) != 0)
        return last_error();
    path_.clear();
    return {};
}

object_directory::object_directory(const file_options& options)
    : path_{options.directory},
      sync_{options.sync},
      id_{random_number()}
{
    if (options.make_directory)
        if (const error_code failed = io::make_directories(path_))
            throw std::system_error(failed, fmt::format("file adapter: cannot make the directory {}", path_.string()));
    result<unique_fd> root = open_directory(AT_FDCWD, path_.string());
    if (!root)
        fail(root.error(), "open", "");
    root_ = std::move(*root);
    if (const result<temporary_file> trial = make_temporary("00/trial"); !trial)
        fail(trial.error(), "write to", "");
}

directory_contents object_directory::scan()
{
    directory_contents contents;
    for (unsigned i = 0; i < 256; ++i)
        scan_folder(folder_name(static_cast<std::uint8_t>(i)), contents);
    std::ranges::stable_sort(contents.objects, {}, &found_object::modified_ns);
    return contents;
}

void object_directory::scan_folder(const std::string& folder, directory_contents& contents)
{
    const result<std::vector<std::string>> names = names_in(root_.get(), folder);
    if (!names && names.error() == condition::no_such_file_or_directory)
        return; // made with its first object
    if (!names)
        fail(names.error(), "read", folder);

    for (const std::string& name : *names) {
        const std::string path = folder + '/' + name;
        if (is_temporary_name(name)) {
            remove_if_left_over(path);
            continue;
        }
        std::optional<object_key> key = key_at(path);
        if (!key && !is_hashed_path(path))
            continue; // not ours
        const result<file_facts> facts = look_at(path);
        if (!facts)
            continue; // gone meanwhile, or not ours
        if (!key && facts->bytes > header_bytes) {
            header_page header;
            const result<open_object> object = open(path);
            if (!object || !read_from_start(object->file, header, {}))
                continue; // perhaps it can be read another time
            key = key_of(header);
        }
        if (key && path_of(*key) == path && facts->bytes > header_bytes)
            contents.objects.push_back({*key, facts->bytes, facts->modified_ns});
        else if (!remove(path))
            ++contents.removed_objects;
    }
}

void object_directory::remove_if_left_over(const std::string& path) const
{
    const unique_fd file{::openat(root_.get(), path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)};
    if (file.is_open() && ::flock(file.get(), LOCK_EX | LOCK_NB) == 0)
        std::ignore = unlink(root_.get(), path); // it had no owner, and make_temporary() sees that it has none now
}

result<file_facts> object_directory::look_at(const std::string& path) const
{
    const result<file_facts> facts = file::look_at(root_.get(), path);
    if (facts && !facts->regular)
        return make_error_code(condition::no_such_file_or_directory);
    return facts;
}

result<open_object> object_directory::open(const std::string& path) const
{
    result<unique_fd> file = open_for_reading(root_.get(), path);
    if (!file)
        return file.error();
    const result<file_facts> facts = file::look_at(*file);
    if (!facts)
        return facts.error();
    if (!facts->regular)
        return make_error_code(condition::no_such_file_or_directory);
    return open_object{std::move(*file), *facts};
}

error_code object_directory::remove(const std::string& path) const
{
    return unlink(root_.get(), path);
}

unique_fd object_directory::create(const std::string& path) const
{
    return unique_fd{::openat(root_.get(), path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600)};
}

error_code object_directory::make_folder(const std::string& folder)
{
    const std::lock_guard lock{root_mutex_}; // nobody finds the folder before it says that the root is new
    if (::mkdirat(root_.get(), folder.c_str(), 0700) != 0)
        return errno == EEXIST ? error_code{} : last_error();
    root_is_new_ = true;
    return {};
}

result<temporary_file> object_directory::make_temporary(const std::string& path)
{
    const std::string folder = path.substr(0, path.find('/') + 1);
    for (;;) {
        const std::string name = folder + temporary_name(id_, ++last_temporary_);
        unique_fd file = create(name);
        if (!file.is_open() && errno == ENOENT) {
            if (const error_code failed = make_folder(folder))
                return failed;
            file = create(name);
        }
        if (!file.is_open()) {
            if (errno == EEXIST)
                continue;
            return last_error();
        }
        temporary_file made{root_.get(), name, std::move(file), sync_};
        // Some file systems cannot lock. There, nobody's scan() can either, and what is left over stays.
        while (::flock(made.file_.get(), LOCK_EX) != 0 && errno == EINTR) {
        }
        const result<file_facts> facts = file::look_at(made.file_);
        if (facts && facts->links == 0)
            continue; // a scan() took it for left over, before it was locked
        return made;
    }
}

error_code object_directory::make_durable(const std::string& path)
{
    if (sync_ == file_sync::none)
        return {};
    if (const error_code failed = sync_directory(root_.get(), path.substr(0, path.find('/'))))
        return failed;
    const std::lock_guard lock{root_mutex_};
    if (root_is_new_ && ::fsync(root_.get()) != 0)
        return last_error();
    root_is_new_ = false;
    return {};
}

void object_directory::fail(error_code why, const char* what, const std::string& where) const
{
    throw std::system_error(why, fmt::format("file adapter: cannot {} {}", what, (path_ / where).string()));
}

} // namespace terrace::file
