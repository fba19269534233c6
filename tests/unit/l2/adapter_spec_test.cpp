#include <chrono>
#include <doctest/doctest.h>
#include <stdexcept>
#include <string>

#include <terrace/adapter_spec.hpp>

namespace {

using namespace std::chrono_literals;
using terrace::adapter_spec;
using terrace::format_bytes;
using terrace::parse_bytes;

constexpr std::uint64_t gib = 1024 * 1024 * 1024;

} // namespace

TEST_CASE("adapter_spec: the text falls into type, place and options")
{
    struct row {
        const char* text;
        const char* type;
        const char* place;
    };
    for (const row& r : {
             row{"memory:", "memory", ""},
             row{"memory:?capacity=1GiB", "memory", ""},
             row{"file:/var/cache/terrace", "file", "/var/cache/terrace"},
             row{"file:/a b:c=d&e?capacity=1", "file", "/a b:c=d&e"},
             row{"s3-2_x:bucket", "s3-2_x", "bucket"},
         }) {
        CAPTURE(r.text);
        auto spec = adapter_spec::parse(r.text);
        CHECK(spec.text() == r.text);
        CHECK(spec.type() == r.type);
        CHECK(spec.place() == r.place);
    }
}

TEST_CASE("adapter_spec: a text without a type is refused")
{
    for (const char* text : {"", "memory", ":", ":/dir", "/dir", "/dir:x", "Memory:", "me mory:", "?a=b:"}) {
        CAPTURE(text);
        CHECK_THROWS_AS((void)adapter_spec::parse(text), std::invalid_argument);
    }
    CHECK_THROWS_WITH((void)adapter_spec::parse("/dir"),
                      "adapter \"/dir\": no type; expected type:place?option=value, such as memory: or file:/dir");
}

TEST_CASE("adapter_spec: a malformed option is refused, and named")
{
    struct row {
        const char* text;
        const char* because;
    };
    for (const row& r : {
             row{"m:?a", "adapter \"m:?a\": malformed option \"a\"; expected option=value"},
             row{"m:?", "adapter \"m:?\": malformed option \"\"; expected option=value"},
             row{"m:?=1", "adapter \"m:?=1\": malformed option \"=1\"; expected option=value"},
             row{"m:?a=1&", "adapter \"m:?a=1&\": malformed option \"\"; expected option=value"},
             row{"m:?a=1&&b=2", "adapter \"m:?a=1&&b=2\": malformed option \"\"; expected option=value"},
             row{"m:?a=1&b=2&a=1", "adapter \"m:?a=1&b=2&a=1\": option \"a\" stands twice; expected it once"},
         }) {
        CAPTURE(r.text);
        CHECK_THROWS_WITH_AS((void)adapter_spec::parse(r.text), r.because, std::invalid_argument);
    }
}

TEST_CASE("adapter_spec: an error shows what cannot be printed")
{
    using namespace std::string_view_literals;
    CHECK_THROWS_WITH_AS((void)adapter_spec::parse("m:?a\0b"sv),
                         "adapter \"m:?a\\x00b\": malformed option \"a\\x00b\"; expected option=value",
                         std::invalid_argument);
    CHECK_THROWS_WITH_AS((void)parse_bytes("1\x1b[2J"), doctest::Contains("\"1\\x1b[2J\" is not a size"),
                         std::invalid_argument);
}

TEST_CASE("adapter_spec: an option is taken once, as it was written")
{
    auto spec = adapter_spec::parse("m:?a=x=y&b=");
    CHECK(spec.take("a") == "x=y");
    CHECK(spec.take("a") == std::nullopt);
    CHECK(spec.take("b") == "");
    CHECK(spec.take("c") == std::nullopt);
}

TEST_CASE("adapter_spec: options are numbers with units")
{
    auto spec = adapter_spec::parse("m:?bytes=1.5GiB&count=12&ns=7ns&us=10us&ms=2.5ms&s=2S");
    CHECK(spec.take_bytes("bytes") == gib + gib / 2);
    CHECK(spec.take_count("count") == 12);
    CHECK(spec.take_duration("ns") == 7ns);
    CHECK(spec.take_duration("us") == 10us);
    CHECK(spec.take_duration("ms") == 2500us);
    CHECK(spec.take_duration("s") == 2s);
    CHECK(spec.take_bytes("none") == std::nullopt);
    CHECK(spec.take_count("none") == std::nullopt);
    CHECK(spec.take_duration("none") == std::nullopt);
}

TEST_CASE("adapter_spec: an option with a wrong value is refused, and named")
{
    CHECK_THROWS_WITH_AS((void)adapter_spec::parse("m:?c=12parsecs").take_bytes("c"),
                         "adapter \"m:?c=12parsecs\": option c: \"12parsecs\" is not a size; expected a number of "
                         "bytes such as 4096, 64KiB or 1.5GiB",
                         std::invalid_argument);
    CHECK_THROWS_WITH_AS((void)adapter_spec::parse("m:?n=-1").take_count("n"),
                         "adapter \"m:?n=-1\": option n: \"-1\" is not a count; expected a plain number",
                         std::invalid_argument);
    CHECK_THROWS_WITH_AS((void)adapter_spec::parse("m:?t=10").take_duration("t"),
                         "adapter \"m:?t=10\": option t: \"10\" is not a duration; expected a number with a unit of "
                         "ns, us, ms, s, min or h, such as 10us",
                         std::invalid_argument);
    for (const char* count : {"", "1.0", "+1", " 1", "1 ", "0x1", "1k", "18446744073709551616"}) {
        CAPTURE(count);
        CHECK_THROWS_AS((void)adapter_spec::parse(std::string{"m:?n="} + count).take_count("n"), std::invalid_argument);
    }
    for (const char* duration : {"", "s", "1m", "1.5ns", "-1s", "9223372037s"}) {
        CAPTURE(duration);
        CHECK_THROWS_AS((void)adapter_spec::parse(std::string{"m:?t="} + duration).take_duration("t"),
                        std::invalid_argument);
    }
}

TEST_CASE("adapter_spec: an option that nobody took is an error which lists those that are known")
{
    auto spec = adapter_spec::parse("m:?capacity=1&sped=2");
    (void)spec.take_bytes("capacity");
    (void)spec.take("speed");
    CHECK_THROWS_WITH_AS(spec.expect_all_taken(),
                         "adapter \"m:?capacity=1&sped=2\": unknown option \"sped\"; expected one of capacity, speed",
                         std::invalid_argument);
    (void)spec.take("sped");
    CHECK_NOTHROW(spec.expect_all_taken());
    CHECK_THROWS_WITH_AS((void)adapter_spec::parse("m:?a=b").expect_all_taken(),
                         "adapter \"m:?a=b\": unknown option \"a\"; expected none", std::invalid_argument);
    CHECK_NOTHROW(adapter_spec::parse("m:").expect_all_taken());
}

TEST_CASE("adapter_spec: a place is refused with the spec it stands in")
{
    CHECK_THROWS_WITH_AS((void)adapter_spec::parse("memory:/x?a=b").reject_place("expected none"),
                         "adapter \"memory:/x?a=b\": place \"/x\": expected none", std::invalid_argument);
}

TEST_CASE("parse_bytes: sizes with units of 1000 and 1024")
{
    struct row {
        const char* text;
        std::uint64_t bytes;
    };
    for (const row& r : {
             row{"0", 0},
             row{"4096", 4096},
             row{"64KiB", 65536},
             row{"64kib", 65536},
             row{"64K", 65536},
             row{"64k", 65536},
             row{"64kB", 64000},
             row{"64KB", 64000},
             row{"64 KiB", 65536},
             row{"1.5 GiB", gib + gib / 2},
             row{"12B", 12},
             row{"12 b", 12},
             row{"3MiB", 3 * 1024 * 1024},
             row{"3M", 3 * 1024 * 1024},
             row{"3MB", 3'000'000},
             row{"1.5GiB", gib + gib / 2},
             row{"1.5G", gib + gib / 2},
             row{"20GB", 20'000'000'000},
             row{"2TiB", 2048 * gib},
             row{"2T", 2048 * gib},
             row{"2TB", 2'000'000'000'000},
             row{"0.5KiB", 512},
             row{"0.0009765625KiB", 1},
             row{"1.000000000001TB", 1'000'000'000'001},
             row{"1.50000000000000000000000GiB", gib + gib / 2},
             row{"7.0", 7},
             row{"007", 7},
             row{"18446744073709551615", 18446744073709551615U},
         }) {
        CAPTURE(r.text);
        CHECK(parse_bytes(r.text) == r.bytes);
    }
}

TEST_CASE("parse_bytes: anything else is refused")
{
    for (const char* text : {"",
                             " ",
                             "GiB",
                             ".5GiB",
                             "1.",
                             "1.GiB",
                             "1..5GiB",
                             "-1",
                             "+1",
                             " 1",
                             "1 ",
                             "1  GiB",
                             "1 GiB ",
                             "1. GiB",
                             "1GiBs",
                             "1Gi",
                             "1PiB",
                             "0x10",
                             "1e3",
                             "1,5GiB",
                             "1.5",
                             "0.3KiB",
                             "16777215.999TiB",
                             "1.0001kB",
                             "0.00000000000000000000001TiB",
                             "18446744073709551616",
                             "16777216TiB",
                             "20000000TB",
                             "0.99999999999999999999TiB"}) {
        CAPTURE(text);
        CHECK_THROWS_AS((void)parse_bytes(text), std::invalid_argument);
    }
    CHECK_THROWS_WITH((void)parse_bytes("many"),
                      "\"many\" is not a size; expected a number of bytes such as 4096, 64KiB or 1.5GiB");
}

TEST_CASE("format_bytes: three digits and the unit that makes them readable")
{
    struct row {
        std::uint64_t bytes;
        const char* text;
    };
    for (const row& r : {
             row{0, "0 B"},
             row{1023, "1023 B"},
             row{1024, "1 KiB"},
             row{65536, "64 KiB"},
             row{1536, "1.5 KiB"},
             row{1025, "1 KiB"},
             row{100 * 1024, "100 KiB"},
             row{1024 * 1024 - 1, "1 MiB"},
             row{1000 * 1024, "1000 KiB"},
             row{gib + gib / 4, "1.25 GiB"},
             row{12 * gib + gib / 2, "12.5 GiB"},
             row{20'000'000'000, "18.6 GiB"},
             row{1024 * gib, "1 TiB"},
             row{~std::uint64_t{0}, "16 EiB"},
         }) {
        CAPTURE(r.bytes);
        CHECK(format_bytes(r.bytes) == r.text);
    }
}

TEST_CASE("parse_duration: numbers with units")
{
    CHECK(terrace::parse_duration("7ns") == 7ns);
    CHECK(terrace::parse_duration("2.5 ms") == 2500us);
    CHECK(terrace::parse_duration("5 min") == 300s);
    CHECK(terrace::parse_duration("1.5h") == 90min);
    for (const char* text : {"", "5", "5 ", " 5s", "5  s", "-5s", "5 d", "0.1ns", "3000000h"}) {
        CAPTURE(text);
        CHECK_THROWS_AS((void)terrace::parse_duration(text), std::invalid_argument);
    }
    CHECK_THROWS_WITH((void)terrace::parse_duration("soon"),
                      "\"soon\" is not a duration; expected a number with a unit "
                      "of ns, us, ms, s, min or h, such as 10us");
}

TEST_CASE("format_exact_bytes and format_duration: what parses to the same number again")
{
    struct size {
        std::uint64_t bytes;
        const char* text;
    };
    for (const size& s : {size{0, "0 B"}, size{1023, "1023 B"}, size{1536 * 1024, "1536 KiB"}, size{16 * gib, "16 GiB"},
                          size{5000 * 1024 * gib, "5000 TiB"}, size{gib + 1, "1073741825 B"}}) {
        CHECK(terrace::format_exact_bytes(s.bytes) == s.text);
        CHECK(parse_bytes(s.text) == s.bytes);
    }
    struct time {
        std::chrono::nanoseconds duration;
        const char* text;
    };
    for (const time& t : {time{0ns, "0 s"}, time{1ns, "1 ns"}, time{1500ms, "1500 ms"}, time{90s, "90 s"},
                          time{24h, "86400 s"}, time{1001us, "1001 us"}}) {
        CHECK(terrace::format_duration(t.duration) == t.text);
        CHECK(terrace::parse_duration(t.text) == t.duration);
    }
}
