// The text of a key, which is the name of a file and part of every record.

#include "fuzz/fuzz.hpp"

#include <terrace/object_key.hpp>

namespace terrace::fuzz {
namespace {

verdict check_key(bytes_view input)
{
    const std::string_view text = as_text(input);
    const result<object_key> key = [&]() -> result<object_key> {
        try {
            return object_key::parse(text);
        } catch (const std::length_error&) {
            return errc::malformed_key; // the millionth model: a fuzzer gets there
        }
    }();
    if (!key) {
        expect(key.error() == errc::malformed_key, "a key is refused as malformed_key");
        return verdict::refused;
    }
    expect(key->to_string() == text, "a key has one text");
    expect(!key->empty(), "a key that was parsed names something");
    const object_key again{key->model(), key->hash(), key->kv_rank(), key->group(), key->cache_salt()};
    expect(again == *key && again.hash_code() == key->hash_code(), "a key is made of its five parts");
    return verdict::accepted;
}

std::vector<bytes> key_seeds()
{
    auto seeds = as_seeds({
        "m@00000000@0000@2a@",            // a salt that is empty is not written
        "m@00000000@0000@2A",             // upper case
        "m@0@0@2a",                       // too few digits
        "%6d@00000000@0000@2a",           // what needs no escape
        "m%2@00000000@0000@2a",           // half an escape
        "m@00000000@0000@2",              // half a byte
        "%0a@00000000@0000@2a",           // a control character
        "m@00000000@0000@2a@t%2fx",       // '/' in a salt
        "@00000000@0000@2a",              // no model
        "m@00000000@0000@2a@t@u",         //
        "m@00000000@0000@" /* no hash */, //
        "meta-llama%2fLlama-3.1-8B@00000001@0002@00112233445566778899aabbccddeeff@tenant-a",
    });
    seeds.push_back(as_bytes(object_key{"m", chunk_hash::from_number(42)}.to_string()));
    const std::vector<std::byte> longest(chunk_hash::max_bytes, std::byte{0xff});
    seeds.push_back(as_bytes(object_key{std::string(object_key::max_model_bytes, '/'), chunk_hash{longest}, UINT32_MAX,
                                        UINT16_MAX, std::string(object_key::max_salt_bytes, '%')}
                                 .to_string()));
    return seeds;
}

const registration key_target{{"object_key", check_key, key_seeds}};

} // namespace
} // namespace terrace::fuzz
