// The names of the files of a directory.

#include "../../../adapters/file/src/file_format.hpp"
#include "fuzz/fuzz.hpp"

namespace terrace::fuzz {
namespace {

verdict check_path(bytes_view input)
{
    const std::string_view path = as_text(input);
    const auto key = [&]() -> std::optional<object_key> {
        try {
            return file::key_at(path);
        } catch (const std::length_error&) {
            return std::nullopt; // the millionth model: a fuzzer gets there
        }
    }();
    const bool hashed = file::is_hashed_path(path);
    expect(!(key && hashed), "a path says its key, or only a header does");
    if (key)
        expect(file::path_of(*key) == path, "a key has one path");
    return key || hashed ? verdict::accepted : verdict::refused;
}

std::vector<bytes> path_seeds()
{
    const std::string path = file::path_of(object_key{"m", chunk_hash::from_number(42)});
    const std::string hashed = file::path_of(object_key{std::string(255, '/'), chunk_hash::from_number(42)});
    auto seeds = as_seeds({
        path,
        hashed,
        file::path_of(object_key{"a/b", chunk_hash::from_number(1), 2, 3, "salt"}),
        "00/m@00000000@0000@2a.kv", // another folder
        "00/.kv",
        "00/.terrace-0123456789abcdef-1.tmp",
        ".kv",
    });
    seeds.push_back(as_bytes("0" + hashed.substr(1)));
    seeds.push_back(as_bytes(path.substr(0, path.size() - 1)));
    return seeds;
}

const registration path_target{{"file_path", check_path, path_seeds}};

} // namespace
} // namespace terrace::fuzz
