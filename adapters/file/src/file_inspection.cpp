#include <terrace/file_inspection.hpp>

#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>
#include <fstream>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <terrace/io/transfer.hpp>

#include "file_format.hpp"
#include "posix_file.hpp"

namespace terrace {
namespace {

namespace fs = std::filesystem;

struct state_freed {
    void operator()(XXH3_state_t* state) const noexcept { XXH3_freeState(state); }
};

/// The checksum of what follows the header, and its length.
result<std::pair<std::uint64_t, std::uint64_t>> payload_of(const file::unique_fd& in)
{
    std::vector<std::byte> piece(std::size_t{1} << 20);
    const std::unique_ptr<XXH3_state_t, state_freed> state{XXH3_createState()};
    XXH3_64bits_reset(state.get());
    std::uint64_t bytes = 0;
    for (;;) {
        io::transfer t = io::transfer::read(in.get(), file::header_bytes + bytes, piece);
        t.perform();
        if (t.error())
            return t.error();
        XXH3_64bits_update(state.get(), piece.data(), t.bytes());
        bytes += t.bytes();
        if (t.bytes() != piece.size())
            return std::pair{XXH3_64bits_digest(state.get()), bytes};
    }
}

std::string unreadable(const boost::system::error_code& why)
{
    return fmt::format("it cannot be read: {}", why.message());
}

/// What is wrong with the file, if anything is; fills in what its header says.
std::string problem_of(const file::unique_fd& in, std::string_view path_below, inspected_object& object)
{
    file::header_page header;
    const result<std::uint64_t> head = file::read_from_start(in, header, {});
    if (!head)
        return unreadable(head.error());
    if (*head != header.size())
        return fmt::format("{} bytes, and a header has {}", *head, header.size());
    object.key = file::key_of(header);
    if (!object.key)
        return "its header is damaged, of another version, or not one";
    const auto layout = file::layout_of(header);
    object.payload_bytes = layout->size_bytes();
    object.fingerprint = layout->fingerprint();
    if (!path_below.ends_with(file::path_of(*object.key)))
        return fmt::format("it is the object of {}", file::path_of(*object.key));
    const auto payload = payload_of(in);
    if (!payload)
        return unreadable(payload.error());
    const auto [checksum, bytes] = *payload;
    if (bytes != object.payload_bytes)
        return fmt::format("{} bytes of payload, and its header says {}", bytes, object.payload_bytes);
    if (checksum != file::payload_checksum_of(header))
        return "its payload is not what was stored";
    return {};
}

void report_unreadable(const fs::path& path, const boost::system::error_code& why, const inspection_report& report)
{
    if (why == boost::system::errc::no_such_file_or_directory)
        return; // removed meanwhile, or not made yet
    inspected_object object;
    object.where = path.string();
    object.problem = unreadable(why);
    report(object);
}

void inspect_one(const fs::path& path, const inspection_report& report)
{
    const file::unique_fd in{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    if (!in.is_open())
        return report_unreadable(path, file::last_error(), report);
    inspected_object object;
    object.where = path.string();
    const fs::path absolute = fs::absolute(path);
    object.problem = problem_of(in, (absolute.parent_path().filename() / absolute.filename()).string(), object);
    report(object);
}

/// The objects of one folder, in order of path.
void inspect_folder(const fs::path& directory, const std::string& folder, const inspection_report& report)
{
    auto names = file::names_in(AT_FDCWD, (directory / folder).string());
    if (!names)
        return report_unreadable(directory / folder, names.error(), report);
    std::ranges::sort(*names);
    for (const std::string& name : *names) {
        const std::string below = folder + '/' + name;
        if (!file::key_at(below) && !file::is_hashed_path(below))
            continue;
        const result<file::file_facts> facts = file::look_at(AT_FDCWD, (directory / below).string());
        if (!facts)
            report_unreadable(directory / below, facts.error(), report);
        else if (facts->regular)
            inspect_one(directory / below, report);
    }
}

} // namespace

bool is_file_store(const fs::path& path)
{
    std::error_code none;
    if (fs::is_regular_file(path, none)) {
        std::ifstream in{path, std::ios::binary};
        file::header_page header{};
        in.read(reinterpret_cast<char*>(header.data()), header.size());
        return path.extension() == ".kv" || file::key_of(header).has_value();
    }
    for (unsigned i = 0; i < 256; ++i)
        if (fs::is_directory(path / file::folder_name(static_cast<std::uint8_t>(i)))) // throws if nobody may look
            return true;
    return false;
}

void inspect_file_store(const fs::path& path, const inspection_report& report)
{
    if (fs::status(path).type() == fs::file_type::not_found)
        throw std::system_error(std::make_error_code(std::errc::no_such_file_or_directory), path.string());
    if (!fs::is_directory(path))
        return inspect_one(path, report);
    for (unsigned i = 0; i < 256; ++i)
        inspect_folder(path, file::folder_name(static_cast<std::uint8_t>(i)), report);
}

} // namespace terrace
