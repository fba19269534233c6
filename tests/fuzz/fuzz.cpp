#include "fuzz/fuzz.hpp"

#include <algorithm>

#include <terrace/io/checksum.hpp>

namespace terrace::fuzz {
namespace {

std::vector<target>& registered() // on first use: registrations come from other sources, in no order
{
    static std::vector<target> all;
    return all;
}

} // namespace

void expect(bool holds, const std::string& what)
{
    if (!holds)
        throw broken(what);
}

registration::registration(const target& t)
{
    registered().push_back(t);
}

std::vector<target> targets()
{
    std::vector<target> all = registered();
    std::ranges::sort(all, {}, &target::name);
    return all;
}

std::string_view as_text(bytes_view input) noexcept
{
    return {reinterpret_cast<const char*>(input.data()), input.size()};
}

bytes as_bytes(std::string_view text)
{
    const auto view = std::as_bytes(std::span{text});
    return {view.begin(), view.end()};
}

std::vector<bytes> as_seeds(std::initializer_list<std::string_view> texts)
{
    std::vector<bytes> seeds;
    for (const std::string_view text : texts)
        seeds.push_back(as_bytes(text));
    return seeds;
}

void fill(std::span<std::byte> to, bytes_view input) noexcept
{
    const auto taken = input.first(std::min(input.size(), to.size()));
    std::ranges::fill(std::ranges::copy(taken, to.begin()).out, to.end(), std::byte{0});
}

void seal(std::span<std::byte> page) noexcept
{
    const auto content = page.first(page.size() - 8);
    const std::uint64_t sum = io::checksum(content);
    for (std::size_t i = 0; i < 8; ++i)
        page[content.size() + i] = static_cast<std::byte>(sum >> (8 * i) & 0xff);
}

bytes trimmed(bytes_view page)
{
    const auto last = std::find_if(page.rbegin(), page.rend(), [](std::byte b) { return b != std::byte{0}; });
    return {page.begin(), last.base()};
}

} // namespace terrace::fuzz
