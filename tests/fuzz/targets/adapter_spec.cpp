// What names an adapter on a command line and in a configuration: its type, place, options, and the rules of faults.

#include "fuzz/fuzz.hpp"

#include <fmt/format.h>
#include <functional>
#include <terrace/adapter_spec.hpp>
#include <terrace/fault_adapter.hpp>
#include <terrace/memory_adapter.hpp>

namespace terrace::fuzz {
namespace {

/// Whether it is done without an error. The one that is documented names the spec.
bool takes(const std::string& text, const std::function<void()>& act)
{
    try {
        act();
        return true;
    } catch (const std::invalid_argument& e) {
        expect(std::string_view{e.what()}.find(fmt::format("{:?}", text)) != std::string_view::npos,
               std::string{"an error names the adapter: "} + e.what());
        return false;
    }
}

/// Every option once, whatever it is.
bool takes_options(adapter_spec spec)
{
    return takes(spec.text(), [&] {
        (void)spec.take_bytes("capacity");
        (void)spec.take_count("depth");
        if (const auto duration = spec.take_duration("latency"))
            expect(duration->count() >= 0, "no duration is negative");
        if (const auto named = spec.take("io"))
            expect(spec.text().find("io=" + *named) != std::string::npos, "a value is what stands in the text");
        expect(!spec.take("io"), "an option is taken once");
        spec.expect_all_taken();
    });
}

/// The adapters that can be made without touching a disk.
bool makes_adapter(const adapter_spec& spec)
{
    try {
        if (spec.type() == "memory")
            return make_memory_adapter(spec) != nullptr;
        const auto inner = [](std::string_view) { return make_memory_adapter(adapter_spec::parse("memory:")); };
        return spec.type() == "fault" && make_fault_adapter(spec, inner) != nullptr;
    } catch (const std::invalid_argument& e) {
        const std::string_view what = e.what();
        expect(what.find(fmt::format("{:?}", spec.text())) != what.npos || what.starts_with("eviction policy \"") ||
                   what.starts_with("fault"),
               std::string{"an error names the adapter: "} + e.what());
        return false;
    }
}

verdict check_spec(bytes_view input)
{
    const std::string text{as_text(input)};
    std::optional<adapter_spec> spec;
    if (!takes(text, [&] { spec = adapter_spec::parse(text); }))
        return verdict::refused;
    expect(spec->text() == text, "a spec keeps its text");
    expect(text.starts_with(spec->type() + ":" + spec->place()), "type and place are as in the text");
    const bool known = takes_options(*spec);
    return makes_adapter(*spec) || known ? verdict::accepted : verdict::refused;
}

std::vector<bytes> spec_seeds()
{
    return as_seeds({
        "memory:",
        "memory:?capacity=1.5GiB&eviction=s3fifo&latency=50us&bandwidth=2GB",
        "memory:?capacity=64KiB&eviction=unheard-of",
        "memory:place",
        "file:/var/cache/terrace?capacity=20GiB&io=uring&depth=32",
        "x:?capacity=1&depth=2&latency=3ms&io=auto",
        "x:?capacity=0.3KiB",
        "x:?latency=99999999999999s",
        "x:?depth=-1",
        "x:?io=a&io=b",
        "x:?=1",
        "x:?io",
        "fault:memory:;load=delay:5ms",
        "fault:memory:?capacity=1MiB;seed=7;lookup+load=throw:eio@0.25/3;store=corrupt:1e-3;all=hang;close=die:enodev",
        "fault:memory:;load=delay",
        "fault:memory:;load=drop:2",
        "fault:memory:;load=drop@nan",
        "fault:memory:;load=drop/0",
        "fault:;",
        ":",
        "",
    });
}

const registration spec_target{{"adapter_spec", check_spec, spec_seeds}};

} // namespace
} // namespace terrace::fuzz
