#include "support/world.hpp"

#include <nlohmann/json.hpp>

using namespace terrace;
using namespace terrace::test;

TEST_CASE("status: its JSON has each number under its name")
{
    world w{{.adapters = 2, .store_policy = "tiered"}};
    w.write("a b c");
    auto held = w.manager.read(keys("a"));
    const engine_status status = w.manager.status();
    const auto json = nlohmann::json::parse(to_json(status));
    CHECK(json.size() == 7);
    CHECK(json["l1"]["capacity_bytes"] == 8 * object_bytes);
    CHECK(json["l1"]["resident_objects"] == 3);
    CHECK(json["l1"]["locks"] == 1);
    CHECK(json["store"]["stored_objects"] == 3);
    CHECK(json["store"]["stored_bytes"] == 3 * object_bytes);
    CHECK(json["prefetch"]["requests"] == 0);
    CHECK(json["internal_errors"] == 0);
    CHECK(json["log_errors"] == 0);
    CHECK(json["prefetch_latency"]["count"] == 0);
    CHECK(json["prefetch_latency"]["counts"].size() == latency_histogram::bounds.size() + 1);
    CHECK(json["adapters"][0]["store_latency"]["count"] == 1);
    REQUIRE(json["adapters"].size() == 2);
    CHECK(json["adapters"][0]["id"] == 1);
    CHECK(json["adapters"][0]["name"] == "scripted:");
    CHECK(json["adapters"][0]["health"] == "healthy");
    CHECK(json["adapters"][0]["stores"] == 1);
    CHECK(json["adapters"][0]["objects"] == 3);
    CHECK(json["adapters"][1]["stores"] == 0);
    held = {};
    w.close();
}

TEST_CASE("status: its JSON is one line, or indented, and holds whatever an adapter says")
{
    engine_status status;
    status.adapters.emplace_back().self.problem = "a \"quoted\"\nline \xff";
    status.adapters.back().health = adapter_health::failed;
    const std::string line = to_json(status);
    CHECK(line.find('\n') == std::string::npos);
    const auto json = nlohmann::json::parse(line);
    CHECK(json["adapters"][0]["problem"] == "a \"quoted\"\nline \xef\xbf\xbd");
    CHECK(json["adapters"][0]["health"] == "failed");
    CHECK(nlohmann::json::parse(to_json(status, 2)) == json);
    CHECK(to_json(status, 2).starts_with("{\n  \"l1\": {\n    \"capacity_bytes\": 0,\n"));
}

TEST_CASE("status: what happened to a key, and how an adapter is, have names")
{
    using enum l1_error;
    CHECK(to_string(none) == "none");
    CHECK(to_string(already_resident) == "already_resident");
    CHECK(to_string(not_resident) == "not_resident");
    CHECK(to_string(out_of_memory) == "out_of_memory");
    CHECK(to_string(larger_than_l1) == "larger_than_l1");
    CHECK(to_string(l1_error::closed) == "closed");
    CHECK(to_string(adapter_health::healthy) == "healthy");
    CHECK(to_string(adapter_health::degraded) == "degraded");
    CHECK(to_string(adapter_health::failed) == "failed");
}
