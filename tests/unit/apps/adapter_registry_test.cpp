#include <doctest/doctest.h>
#include <stdexcept>

#include "adapter_registry.hpp"

using namespace terrace;

TEST_CASE("registry: a spec makes the adapter of its type")
{
    auto adapter = apps::make_adapter("memory:?capacity=1MiB");
    REQUIRE(adapter);
    CHECK(adapter->status().capacity_bytes == 1024 * 1024);
}

TEST_CASE("registry: an unknown type is named, with those that there are")
{
    CHECK_THROWS_WITH_AS((void)apps::make_adapter("tape:/dev/st0"),
                         "adapter \"tape:/dev/st0\": unknown type \"tape\"; expected one of memory, file",
                         std::invalid_argument);
}

TEST_CASE("registry: what is wrong within a spec is refused with its name")
{
    auto complaint = [](const char* spec) {
        try {
            (void)apps::make_adapter(spec);
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
