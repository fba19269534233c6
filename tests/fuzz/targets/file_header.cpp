// The header of an object's file. Zeros follow the input up to a whole page, so that a seed is short.

#include "../../../adapters/file/src/file_format.hpp"
#include "fuzz/fuzz.hpp"

namespace terrace::fuzz {
namespace {

using namespace terrace::file;

/// Whether the page is taken for a header.
bool check_page(const header_page& page)
{
    const auto key = key_of(page);
    const auto layout = layout_of(page);
    expect(key.has_value() == layout.has_value(), "a header has a key and a layout, or neither");
    if (!key)
        return false;
    const header_page made = make_header(*key, *layout, {});
    expect(key_of(made) == key, "a header says again what was put into it");
    expect(layout_of(made)->fingerprint() == layout->fingerprint(), "a header keeps the fingerprint");
    const std::string path = path_of(*key);
    expect(is_hashed_path(path) ? !key_at(path) : key_at(path) == key, "a path leads back to its key");
    return true;
}

/// As it is, and as it would be if its checksum were right.
verdict check_header(bytes_view input)
{
    header_page page;
    fill(page, input);
    bool accepted = check_page(page);
    seal(page);
    accepted = check_page(page) || accepted;
    return accepted ? verdict::accepted : verdict::refused;
}

bytes header_of(const object_key& key, std::uint64_t payload_bytes)
{
    const bytes payload(payload_bytes);
    const header_page page = make_header(key, memory_layout::bytes(payload_bytes), payload);
    return trimmed(bytes_view{page}.first(header_bytes - 8)); // check_header() brings the checksum
}

std::vector<bytes> header_seeds()
{
    std::vector<bytes> seeds;
    seeds.push_back(header_of(object_key{"m", chunk_hash::from_number(42)}, 1));
    seeds.push_back(header_of(object_key{"a/b", chunk_hash::from_number(1), 2, 3, "salt"}, 1000));
    seeds.push_back(header_of(object_key{std::string(255, '/'), chunk_hash::from_number(1)}, 7));
    for (const std::size_t wrong : {0U, 8U, 40U, 43U, 48U}) { // magic, version, key length, key
        seeds.push_back(seeds.front());
        seeds.back()[wrong] ^= std::byte{0x40};
    }
    seeds.emplace_back();
    return seeds;
}

const registration header_target{{"file_header", check_header, header_seeds}};

} // namespace
} // namespace terrace::fuzz
