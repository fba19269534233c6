// Sizes such as 64KiB.

#include "fuzz/fuzz.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <terrace/text_options.hpp>

namespace terrace::fuzz {
namespace {

std::string upper(std::string_view text)
{
    std::string result{text};
    std::ranges::transform(result, result.begin(),
                           [](char c) { return c >= 'a' && c <= 'z' ? char(c - 'a' + 'A') : c; });
    return result;
}

verdict check_size(bytes_view input)
{
    const std::string_view text = as_text(input);
    std::uint64_t size = 0;
    try {
        size = parse_bytes(text);
    } catch (const std::invalid_argument& e) {
        expect(std::string_view{e.what()}.starts_with(fmt::format("{:?}", text)),
               std::string{"an error names the value: "} + e.what());
        return verdict::refused;
    }
    expect(parse_bytes(std::to_string(size)) == size, "a number of bytes is a size");
    expect(parse_bytes(upper(text)) == size, "the case of a unit does not matter");
    expect(parse_bytes("0" + std::string{text}) == size, "a zero in front does not matter");
    const auto unit = std::min(text.find_first_not_of("0123456789."), text.size());
    const std::string_view number = text.substr(0, unit);
    const std::string more = std::string{number} + (number.find('.') == number.npos ? ".0" : "0");
    expect(parse_bytes(more + std::string{text.substr(unit)}) == size, "a zero behind the point does not matter");
    expect(format_bytes(size).size() <= 8, "a size is shown in three digits: " + format_bytes(size));
    expect(parse_bytes(format_exact_bytes(size)) == size,
           "what is shown exactly is the same: " + format_exact_bytes(size));
    return verdict::accepted;
}

std::vector<bytes> size_seeds()
{
    return as_seeds({"4096",
                     "64KiB",
                     "1.5GiB",
                     "20GB",
                     "0.5kB",
                     "18446744073709551615",
                     "18446744073709551616",
                     "16777215.9990234375TiB",
                     "0.0009765625k",
                     "1.",
                     ".5k",
                     "1e3",
                     "-1",
                     "1 KiB",
                     "0x10",
                     "KiB",
                     "",
                     "0.00000000000000000000",
                     "1.0000000000000000000TiB",
                     "1.9999999999999999999999TB"});
}

const registration size_target{{"byte_size", check_size, size_seeds}};

} // namespace
} // namespace terrace::fuzz
