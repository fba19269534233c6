// A lock keeps an object for whoever looked it up, once for each call, until it is taken back.

#include "conformance/world.hpp"

using namespace terrace;
using namespace terrace::conformance;

TEST_CASE("a lookup locks what it finds, and nothing else")
{
    FOR_EACH_ADAPTER(adapter)
    {
        world w{adapter};
        w.put(keys({1, 2, 3}));
        CHECK(w.lookup(keys({1, 9, 2})) == bits("101"));
        CHECK(w.status().locked_objects == 2);
        CHECK(w.erase(keys({1, 2, 3})) == bits("001"));
        CHECK(w.get(keys({1, 2, 3})) == bits("110"));

        w.unlock(keys({1, 2}));
        CHECK(w.status().locked_objects == 0);
        CHECK(w.erase(keys({1, 2})).all());
        check_at_rest(w);
    }
}

TEST_CASE("locks are counted: each call takes one, and each is taken back on its own")
{
    FOR_EACH_ADAPTER(adapter)
    {
        world w{adapter};
        w.put(keys({1, 2}));
        CHECK(w.lookup(keys({1, 2})).all());
        CHECK(w.lookup(keys({1})).all());
        CHECK(w.lookup(keys({1})).all());
        CHECK(w.status().locked_objects == 2);

        w.unlock(keys({1, 2}));
        CHECK(w.erase(keys({1, 2})) == bits("01"));
        w.unlock(keys({1}));
        CHECK(w.erase(keys({1})).none());
        w.unlock(keys({1}));
        CHECK(w.status().locked_objects == 0);
        CHECK(w.erase(keys({1})).all());
    }
}

TEST_CASE("unlocking what holds no lock changes nothing")
{
    FOR_EACH_ADAPTER(adapter)
    {
        world w{adapter};
        w.put(keys({1, 2}));
        w.unlock(keys({1, 2, 3}));
        w.unlock(keys({1, 2, 3}));
        check_at_rest(w);
        CHECK(w.find(keys({1, 2, 3})) == bits("110"));

        CHECK(w.lookup(keys({1})).all()); // counts as one, whatever was unlocked before
        CHECK(w.status().locked_objects == 1);
        CHECK(w.erase(keys({1})).none());
        w.unlock(keys({3, 1, 2}));
        CHECK(w.status().locked_objects == 0);
    }
}

TEST_CASE("loading and storing leave locks alone")
{
    FOR_EACH_ADAPTER(adapter)
    {
        world w{adapter};
        w.put(keys({1, 2}));
        CHECK(w.lookup(keys({1})).all());
        CHECK(w.get(keys({1, 2})).all());
        w.put(keys({1, 2}));
        w.put(keys({1, 2}), default_bytes, 0, store_mode::if_absent);
        w.list();
        CHECK(w.status().locked_objects == 1);
        CHECK(w.erase(keys({1, 2})) == bits("01"));
        w.unlock(keys({1}));
        check_at_rest(w);
    }
}

TEST_CASE("an object that goes although it is locked takes no lock with it")
{
    FOR_EACH_ADAPTER(adapter)
    {
        world w{adapter};
        w.put(keys({1}));
        CHECK(w.lookup(keys({1})).all());
        CHECK(w.get(keys({1}), 2 * default_bytes).none()); // another layout: removed, locked or not
        CHECK(w.find(keys({1})).none());

        SUBCASE("unlocked, nothing is left of it")
        {
            w.unlock(keys({1}));
            check_at_rest(w);
        }
        SUBCASE("stored again and locked again, it has two locks")
        {
            w.put(keys({1}));
            CHECK(w.lookup(keys({1})).all());
            w.unlock(keys({1})); // of the older lookup
            CHECK(w.erase(keys({1})).none());
            w.unlock(keys({1}));
            CHECK(w.erase(keys({1})).all());
            check_at_rest(w);
        }
    }
}

TEST_CASE("300 locks are taken and given back in one call each")
{
    FOR_EACH_ADAPTER(adapter)
    {
        world w{adapter};
        const auto many = key_range(0, 300);
        w.put(many, 16);
        CHECK(w.lookup(many).all());
        CHECK(w.status().locked_objects == 300);
        CHECK(w.erase(many).none());
        w.unlock(many);
        CHECK(w.status().locked_objects == 0);
        CHECK(w.erase(many).all());
    }
}
