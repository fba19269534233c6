#include <doctest/doctest.h>
#include <stdexcept>

#include <terrace/adapter_registry.hpp>

using namespace terrace;

TEST_CASE("registry: a spec makes the adapter of its type")
{
    auto adapter = make_adapter("memory:?capacity=1MiB");
    REQUIRE(adapter);
    CHECK(adapter->status().capacity_bytes == 1024 * 1024);
}

TEST_CASE("registry: an unknown type is named, with those that there are")
{
    CHECK_THROWS_WITH_AS(
        (void)make_adapter("tape:/dev/st0"),
        "adapter \"tape:/dev/st0\": unknown type \"tape\"; expected one of memory, file, segment, fault",
        std::invalid_argument);
}

TEST_CASE("registry: what is wrong within a spec is refused with its name")
{
    auto complaint = [](const char* spec) {
        try {
            (void)make_adapter(spec);
        } catch (const std::invalid_argument& e) {
            return std::string{e.what()};
        }
        return std::string{};
    };
    CHECK(complaint("memory:?colour=red").find("colour") != std::string::npos);
    CHECK(complaint("memory:?capacity=lots").find("lots") != std::string::npos);
    CHECK(complaint("file:").find("file:") != std::string::npos);
    CHECK(complaint("") != "");
    CHECK(complaint("memory") != ""); // no ':'
}

TEST_CASE("registry: a check refuses what making the adapter would, and opens nothing")
{
    auto complaint = [](const std::string& spec) {
        try {
            check_adapter(spec);
        } catch (const std::invalid_argument& e) {
            return std::string{e.what()};
        }
        return std::string{};
    };
    for (const std::string type : {"file", "segment"}) {
        CHECK(complaint(type + ":/proc/none?threads=2&capacity=1GiB") == "");
        CHECK(complaint(type + ":/proc/none?threads=0").find("threads is 0, expected 1 to 256") != std::string::npos);
        CHECK(complaint(type + ":/proc/none?capacity=1KiB").find("capacity is 1024 bytes") != std::string::npos);
        CHECK(complaint(type + ":/proc/none?io=foo").find("foo") != std::string::npos);
    }
    CHECK(complaint("file:/proc/none?depth=5000").find("depth is 5000") != std::string::npos);
    for (const std::string spec : {"file:/proc/none?eviction=fifo", "memory:?eviction=fifo"})
        CHECK(complaint(spec).find("fifo") != std::string::npos);
    CHECK(complaint("segment:/proc/none?segment=1KiB").find("segment is") != std::string::npos);
    CHECK(complaint("fault:segment:/proc/none?threads=0;load=hang").find("threads is 0") != std::string::npos);
}

TEST_CASE("registry: faults wrap whatever stands before them")
{
    const auto adapter = make_adapter("fault:memory:?capacity=1MiB;store+load=throw:enospc@0.01/3;load=delay:5ms;"
                                      "load=corrupt:0.5;all=hang_deaf@0;seed=7");
    CHECK(adapter->status().capacity_bytes == 1024 * 1024);
    CHECK(adapter->status().name == "fault:memory:");
    CHECK(make_adapter("fault:memory:")->status().name == "fault:memory:");
    CHECK(make_adapter("fault:fault:memory:;load=hang")->status().name == "fault:fault:memory:");

    auto complaint = [](const char* spec) {
        try {
            (void)make_adapter(spec);
        } catch (const std::invalid_argument& e) {
            return std::string{e.what()};
        }
        return std::string{};
    };
    CHECK(complaint("fault:").find("expected the adapter to wrap") != std::string::npos);
    CHECK(complaint("fault:tape:;load=hang").find("tape") != std::string::npos);
    CHECK(complaint("fault:memory:;lode=hang").find("\"lode\"") != std::string::npos);
    CHECK(complaint("fault:memory:;load=hung").find("\"hung\"") != std::string::npos);
    CHECK(complaint("fault:memory:;load=hang:5ms").find("\"5ms\"") != std::string::npos);
    CHECK(complaint("fault:memory:;load=delay").find("expected one such as delay:5ms") != std::string::npos);
    CHECK(complaint("fault:memory:;load=delay:fast").find("\"fast\"") != std::string::npos);
    CHECK(complaint("fault:memory:;load=throw:oops").find("\"oops\"") != std::string::npos);
    CHECK(complaint("fault:memory:;load=throw@2").find("\"2\"") != std::string::npos);
    CHECK(complaint("fault:memory:;load=throw/0").find("every") != std::string::npos);
    CHECK(complaint("fault:memory:;seed=lots").find("seed=lots") != std::string::npos);
    CHECK(complaint("fault:memory:;list=corrupt") != "");
}
