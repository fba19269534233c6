#include <terrace/file_inspection.hpp>

#include <algorithm>
#include <fmt/format.h>
#include <fstream>
#include <memory>
#include <system_error>
#include <vector>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "file_format.hpp"

namespace terrace {
namespace {

namespace fs = std::filesystem;

struct state_freed {
    void operator()(XXH3_state_t* state) const noexcept { XXH3_freeState(state); }
};

/// The checksum of what is left of the stream, and its length.
std::pair<std::uint64_t, std::uint64_t> rest_of(std::ifstream& in)
{
    std::vector<char> piece(std::size_t{1} << 20);
    const std::unique_ptr<XXH3_state_t, state_freed> state{XXH3_createState()};
    XXH3_64bits_reset(state.get());
    std::uint64_t bytes = 0;
    while (in.read(piece.data(), static_cast<std::streamsize>(piece.size())) || in.gcount() != 0) {
        XXH3_64bits_update(state.get(), piece.data(), static_cast<std::size_t>(in.gcount()));
        bytes += static_cast<std::uint64_t>(in.gcount());
    }
    return {XXH3_64bits_digest(state.get()), bytes};
}

/// What is wrong with the file, if anything is; fills in what its header says.
std::string problem_of(std::ifstream& in, std::string_view path_below, inspected_object& object)
{
    file::header_page header;
    if (!in.read(reinterpret_cast<char*>(header.data()), header.size()))
        return fmt::format("{} bytes, and a header has {}", in.gcount(), header.size());
    object.key = file::key_of(header);
    if (!object.key)
        return "its header is damaged, of another version, or not one";
    const auto layout = file::layout_of(header);
    object.payload_bytes = layout->size_bytes();
    object.fingerprint = layout->fingerprint();
    if (!path_below.ends_with(file::path_of(*object.key)))
        return fmt::format("it is the object of {}", file::path_of(*object.key));
    const auto [checksum, bytes] = rest_of(in);
    if (bytes != object.payload_bytes)
        return fmt::format("{} bytes of payload, and its header says {}", bytes, object.payload_bytes);
    if (checksum != file::payload_checksum_of(header))
        return "its payload is not what was stored";
    return {};
}

void inspect_one(const fs::path& path, const inspection_report& report)
{
    std::ifstream in{path, std::ios::binary};
    if (!in)
        return; // removed meanwhile
    inspected_object object;
    object.where = path.string();
    const fs::path absolute = fs::absolute(path);
    object.problem = problem_of(in, (absolute.parent_path().filename() / absolute.filename()).string(), object);
    report(object);
}

/// The files in the folders where objects lie, in order of path.
std::vector<fs::path> objects_in(const fs::path& directory)
{
    std::vector<fs::path> found;
    for (unsigned i = 0; i < 256; ++i) {
        std::error_code gone;
        for (const auto& entry :
             fs::directory_iterator{directory / file::folder_name(static_cast<std::uint8_t>(i)), gone}) {
            const std::string below =
                file::folder_name(static_cast<std::uint8_t>(i)) + '/' + entry.path().filename().string();
            if (entry.is_regular_file(gone) && (file::key_at(below) || file::is_hashed_path(below)))
                found.push_back(entry.path());
        }
    }
    std::ranges::sort(found);
    return found;
}

} // namespace

bool is_file_store(const fs::path& path)
{
    std::error_code none;
    if (fs::is_regular_file(path, none)) {
        std::ifstream in{path, std::ios::binary};
        file::header_page header;
        in.read(reinterpret_cast<char*>(header.data()), header.size());
        return path.extension() == ".kv" || file::key_of(header).has_value();
    }
    for (unsigned i = 0; i < 256; ++i)
        if (fs::is_directory(path / file::folder_name(static_cast<std::uint8_t>(i)), none))
            return true;
    return false;
}

void inspect_file_store(const fs::path& path, const inspection_report& report)
{
    if (fs::status(path).type() == fs::file_type::not_found)
        throw std::system_error(std::make_error_code(std::errc::no_such_file_or_directory), path.string());
    if (!fs::is_directory(path))
        return inspect_one(path, report);
    for (const fs::path& object : objects_in(path))
        inspect_one(object, report);
}

} // namespace terrace
