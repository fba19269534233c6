#include "support/world.hpp"

using namespace terrace;
using namespace terrace::test;
using namespace std::chrono_literals;

namespace {

/// The words of `objects` that a bitmap over them is set for.
std::string chosen(std::string_view objects, const bitmap& which)
{
    const auto names = keys(objects);
    REQUIRE(which.size() == names.size());
    std::vector<std::string> some;
    which.for_each_set([&](std::size_t i) { some.push_back(names[i].to_string()); });
    return words(some);
}

std::string pin(world& w, std::string_view objects, clock::time_point until)
{
    const auto pinned = chosen(objects, w.manager.pin(keys(objects), until));
    w.settle();
    return pinned;
}

} // namespace

TEST_CASE("pin: what is pinned is not evicted until its time is up")
{
    world w{{.l1_objects = 4}};
    w.write("a b c d");
    CHECK(pin(w, "a x b", w.time->now() + 1s) == "a b"); // x is not resident
    CHECK(w.l1().pinned_objects == 2);
    CHECK(w.l1().pinned_bytes == 2 * object_bytes);
    w.write("e f");
    CHECK(w.resident("a b e f"));
    CHECK(w.manager.reserve_write(keys("p q r"), w.layout).leading() == 2);
    w.pass(1s - 1ns);
    CHECK(w.l1().pinned_objects == 2);
    w.pass(1ns);
    CHECK(w.l1().pinned_objects == 0);
    CHECK(w.l1().locks == 0);
    CHECK(w.manager.reserve_write(keys("p q r s"), w.layout).leading() == 4);
    w.close();
}

TEST_CASE("pin: it ends before its time")
{
    world w;
    const auto until = w.time->now() + 1s;
    w.write("a b");
    CHECK(pin(w, "a b", until) == "a b");
    SUBCASE("by unpin")
    {
        CHECK(chosen("a x", w.manager.unpin(keys("a x"))) == "a");
        CHECK(w.l1().pinned_objects == 1);
        CHECK(w.resident("a b"));
        CHECK(w.manager.unpin(keys("a b")).count() == 1);
    }
    SUBCASE("by erase")
    {
        CHECK(w.manager.erase(keys("a b")).all());
        CHECK_FALSE(w.resident("a"));
        CHECK(w.l1().used_bytes == 0);
        w.write("a");
        w.pass(1s); // nothing of the old pin is left to end
        CHECK(w.resident("a"));
    }
    SUBCASE("by a clear by force, and by no other")
    {
        CHECK(w.manager.clear(clear_mode::unlocked) == 0);
        CHECK(w.l1().pinned_objects == 2);
        CHECK(w.manager.clear(clear_mode::force) == 2);
        CHECK(w.l1().used_bytes == 0);
    }
    SUBCASE("with the engine") {}
    w.close(); // and nothing is left locked
    CHECK(w.l1().pinned_objects == 0);
}

TEST_CASE("pin: pinned twice, an object stays for the longer time, and holds one lock")
{
    world w;
    const auto now = w.time->now();
    w.write("a");
    CHECK(pin(w, "a", now + 2s) == "a");
    CHECK(pin(w, "a", now + 1s) == "a");
    CHECK(w.l1().locks == 1);
    w.pass(1s);
    CHECK(w.l1().pinned_objects == 1);
    CHECK(pin(w, "a", now + 3s) == "a");
    w.pass(1s);
    CHECK(w.l1().pinned_objects == 1);
    w.pass(1s);
    CHECK(w.l1().pinned_objects == 0);
    w.close();
}

TEST_CASE("pin: pinned again after it was erased, an object stays for the new time alone")
{
    world w;
    const auto now = w.time->now();
    w.write("a");
    CHECK(pin(w, "a", now + 5s) == "a");
    SUBCASE("erased")
    {
        w.manager.erase(keys("a"));
    }
    SUBCASE("cleared")
    {
        w.manager.clear(clear_mode::force);
    }
    w.write("a");
    CHECK(pin(w, "a", now + 1s) == "a");
    w.pass(1s);
    CHECK(w.l1().pinned_objects == 0);
    w.close();
}

TEST_CASE("pin: what replaces a pinned object is pinned in its place")
{
    world w{{.l1_objects = 2}};
    w.write("a");
    CHECK(pin(w, "a", w.time->now() + 1s) == "a");
    auto old = w.manager.read(keys("a"));
    auto update = w.manager.reserve_write(keys("a"), w.layout, write_mode::update);
    update.commit();
    w.settle();
    CHECK(w.l1().pinned_objects == 1);
    old = {};
    CHECK(w.l1().resident_objects == 1);
    w.write("b");
    CHECK(w.manager.reserve_write(keys("c d"), w.layout).leading() == 1); // b goes, a does not
    w.pass(1s);
    CHECK(w.l1().locks == 0);
    w.close();
}

TEST_CASE("pin: no more than its share of L1")
{
    world w{{.l1_objects = 4}}; // of which half
    w.write("a b c");
    CHECK(pin(w, "a b c", w.time->now() + 1s) == "a b");
    w.manager.unpin(keys("a"));
    CHECK(pin(w, "c", w.time->now() + 1s) == "c");
    w.close();
}

TEST_CASE("pin: a temporary object that is pinned outlives its reader by the pin")
{
    world w;
    w.put("a");
    auto hits = w.run(w.prefetch("a"));
    CHECK(pin(w, "a", w.time->now() + 1s) == "a");
    hits.lease = {};
    CHECK(w.resident("a"));
    w.pass(1s);
    CHECK_FALSE(w.resident("a"));
    w.close();
}

TEST_CASE("pin: bad arguments are refused at the door, and a closed engine pins nothing")
{
    world w;
    w.write("a");
    CHECK_THROWS_WITH_AS((void)w.manager.pin(keys("a"), w.time->now()),
                         doctest::Contains("the deadline passed 0 ns ago"), std::invalid_argument);
    CHECK_THROWS_AS((void)w.manager.pin(keys("a a"), w.time->now() + 1s), std::invalid_argument);
    CHECK_THROWS_AS((void)w.manager.unpin(keys("a a")), std::invalid_argument);
    CHECK_THROWS_AS((void)w.manager.touch(keys("a a")), std::invalid_argument);
    CHECK(w.l1().locks == 0);
    w.close();
    CHECK(w.manager.pin(keys("a"), w.time->now() + 1s).none());
    CHECK(w.l1().locks == 0);
}

TEST_CASE("touch: what is touched goes last, its tail before its head")
{
    world w{{.l1_objects = 4}};
    w.write("a b");
    w.write("c d");
    CHECK(chosen("a x b", w.manager.touch(keys("a x b"))) == "a b");
    auto first = w.manager.reserve_write(keys("p q"), w.layout);
    CHECK(w.resident("a b"));
    auto second = w.manager.reserve_write(keys("r"), w.layout);
    CHECK(w.resident("a"));
    CHECK_FALSE(w.resident("b"));
    first = {};
    second = {};
    w.close();
}
