#include "support/world.hpp"

using namespace terrace;
using namespace terrace::test;
using namespace std::chrono_literals;

namespace {

/// Writes the object with `version` for each of its bytes.
void write_version(world& w, std::string_view object, int version, write_mode mode = write_mode::update)
{
    auto lease = w.manager.reserve_write(keys(object), w.layout, mode);
    REQUIRE(lease.ok(0) == l1_error::none);
    std::ranges::fill(lease.bytes(0), static_cast<std::byte>(version));
    lease.commit();
    w.settle();
}

/// The version that the adapter has; 0: none.
int stored_version(const world& w, std::string_view object)
{
    const auto found = w.l2.objects.find(key(object).to_string());
    return found == w.l2.objects.end() ? 0 : static_cast<int>(found->second.front());
}

} // namespace

TEST_CASE("store: an update that has failed is not tried again once a later one was committed")
{
    world w{{.adapter = without_breaker()}};
    write_version(w, "a", 1, write_mode::new_only);
    w.l2.store_throws = true;
    write_version(w, "a", 2);
    w.l2.store_throws = false;
    CHECK(w.stores().queued_objects == 1);
    SUBCASE("in its place")
    {
        write_version(w, "a", 3);
    }
    SUBCASE("after it was erased in L1")
    {
        w.manager.erase(keys("a"));
        write_version(w, "a", 3, write_mode::all);
    }
    CHECK(stored_version(w, "a") == 3);
    w.pass(1min);
    CHECK(stored_version(w, "a") == 3);
    CHECK(w.stores().stored_objects == 2);
    CHECK(w.stores().overtaken_objects == 1);
    CHECK(w.stores().queued_objects == 0);
    CHECK(w.l1().locks == 0);
    w.close();
}

TEST_CASE("store: an update has its turn when no store of the same object is in flight")
{
    adapter_options options = without_breaker();
    options.store_timeout = 1s;
    world w{{.adapter = options}};
    w.l2.stores.shut();
    write_version(w, "a", 1, write_mode::new_only);
    write_version(w, "b", 1, write_mode::new_only);
    CHECK(w.l2.stores.waiting() == 2);
    write_version(w, "a", 2);
    CHECK(w.l2.stores.waiting() == 2); // though four could be
    SUBCASE("which is when the other has ended")
    {
        w.l2.stores.let_one_pass();
        w.settle();
        CHECK(stored_version(w, "a") == 1);
        CHECK(w.l2.stores.waiting() == 2);
    }
    SUBCASE("the other may hang: the update counts as tried, and holds up nothing")
    {
        w.pass(1s);
        CHECK(w.l2.stores.waiting() == 2);
        CHECK(w.stores().retried_objects == 1);
        write_version(w, "c", 1, write_mode::new_only);
        CHECK(w.l2.stores.waiting() == 3);
        w.pass(100ms);
        CHECK(w.stores().retried_objects == 2);
    }
    w.l2.stores.open();
    w.pass(1s);
    CHECK(stored_version(w, "a") == 2);
    CHECK(w.l1().locks == 0);
    w.close();
}

TEST_CASE("store: an update that hangs for good fails those after it, and they keep to L1")
{
    adapter_options options = without_breaker();
    options.store_timeout = 1s;
    world w{{.adapter = options}};
    w.l2.stores.shut();
    write_version(w, "a", 1, write_mode::new_only);
    write_version(w, "a", 2);
    for (int i = 0; i < 60; ++i)
        w.pass(1s);
    CHECK(w.stores().failed_objects == 1);
    CHECK(w.l2.store_calls == 1);
    CHECK(w.l1().locked_objects == 1); // the first
    w.l2.stores.open();
    w.settle();
    CHECK(w.resident("a"));
    w.settle(); // wanted, it is stored after all
    CHECK(stored_version(w, "a") == 2);
    w.close();
}

TEST_CASE("store: what is written over while it is queued is stored once, as the last of them")
{
    adapter_options options = without_breaker();
    options.stores_in_flight = 1;
    world w{{.adapter = options}};
    w.l2.stores.shut();
    w.write("x");
    for (int version = 1; version <= 3; ++version)
        write_version(w, "a", version, write_mode::all);
    CHECK(w.stores().queued_objects == 3);
    w.l2.stores.open();
    w.settle();
    CHECK(stored_version(w, "a") == 3);
    CHECK(words(w.l2.stored) == "x a");
    CHECK(w.stores().overtaken_objects == 2);
    CHECK(w.l1().locks == 0);
    w.close();
}
