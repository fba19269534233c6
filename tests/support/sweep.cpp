#include "support/sweep.hpp"

#include <boost/asio/strand.hpp>

namespace terrace::test {
namespace {

std::vector<gate*> gates_of(scripted_adapter::script& s)
{
    return {&s.lookups, &s.loads, &s.unlocks, &s.stores, &s.closing};
}

/// One handler, or what happens where none is ready.
void go_on(stage& s, const scene& played)
{
    s.w.io.restart();
    if (s.w.io.poll_one() != 0)
        return;
    if (played.meanwhile)
        played.meanwhile(s);
    else
        let_something_happen(s);
}

/// When adapters answer what they were asked before the cancellation.
enum class answers : std::uint8_t { with_it, afterwards };

/// Whether the caller shares the engine's executor.
enum class called : std::uint8_t { there, from_elsewhere };

struct ending {
    bool cancelled = false; ///< false: the operation had ended before
    bool aborted = false;
};

/// All of L1 can be had by somebody who does not wait.
void check_l1_is_free(stage& s, std::size_t objects)
{
    std::vector<object_key> all;
    for (std::size_t i = 0; i < objects; ++i)
        all.push_back(key("all" + std::to_string(i)));
    const write_lease lease = s.w.manager.reserve_write(all, s.w.layout);
    for (std::size_t i = 0; i < objects; ++i)
        CHECK(lease.ok(i) == l1_error::none);
}

void check_works(stage& s, const scene& played)
{
    s.w.run(s.w.manager.flush());
    check_nothing_left(s.w);
    check_l1_is_free(s, played.options.l1_objects);
    s.w.write("fresh");
    s.w.run(s.w.manager.flush());
    const auto fresh = keys("fresh");
    CHECK(s.w.manager.erase(fresh).all());
    s.w.run(hits(s.w.prefetch("fresh"), 1));
}

ending play(const scene& played, std::size_t moments, answers adapters_answer, called where)
{
    stage s{played.options};
    played.before(s);
    if (where == called::from_elsewhere)
        s.w.caller = asio::make_strand(s.w.io);
    auto running = played.call(s);
    s.w.caller = s.w.io.get_executor();
    for (std::size_t i = 0; i < moments && !running.done(); ++i)
        go_on(s, played);
    ending result{.cancelled = !running.done()};
    if (result.cancelled) {
        running.cancel();
        CHECK_FALSE(running.done()); // it ends by way of the executor
        if (adapters_answer == answers::afterwards) {
            s.w.settle();
            CHECK(running.done()); // nobody waits for what an adapter has begun
        }
    }
    s.open_all_gates();
    s.w.settle();
    REQUIRE(running.done());
    result.aborted = running.was_aborted();
    CHECK(running.failed() == result.aborted);
    CHECK((result.cancelled || !result.aborted));
    played.afterwards(s);
    s.held.clear();
    s.others.clear();
    s.handle.reset();
    s.ticket.reset();
    s.w.settle();
    if (played.works_afterwards)
        check_works(s, played);
    s.w.close();
    return result;
}

void sweep(const scene& played, answers adapters_answer, called where)
{
    std::size_t moments = 0;
    std::size_t aborted = 0;
    for (bool cancelled = true; cancelled; ++moments) {
        REQUIRE(moments < 1000);
        CAPTURE(moments);
        const ending result = play(played, moments, adapters_answer, where);
        cancelled = result.cancelled;
        aborted += result.aborted ? 1 : 0;
    }
    --moments; // the last time it was not cancelled
    CAPTURE(aborted);
    CHECK(moments >= played.at_least.moments);
    if (adapters_answer == answers::afterwards)
        CHECK(aborted >= played.at_least.aborted);
}

} // namespace

void stage::shut_all_gates()
{
    for (const auto& script : w.adapters)
        for (gate* g : gates_of(*script))
            g->shut();
}

void stage::open_all_gates()
{
    for (const auto& script : w.adapters)
        for (gate* g : gates_of(*script))
            g->open();
}

void let_something_happen(stage& s)
{
    for (const auto& script : s.w.adapters)
        for (gate* g : gates_of(*script))
            if (g->waiting() != 0) {
                g->let_one_pass();
                return;
            }
    s.w.time->advance(std::chrono::seconds{1});
}

void cancel_at_any_moment(const scene& played)
{
    sweep(played, answers::afterwards, called::there);
    sweep(played, answers::with_it, called::there);
    sweep(played, answers::afterwards, called::from_elsewhere);
}

asio::awaitable<bool> hits(asio::awaitable<prefetch_result> work, hit_range expected)
{
    const prefetch_result result = co_await std::move(work);
    CHECK(result.prefix_hits >= expected.least);
    CHECK(result.prefix_hits <= expected.most);
    CHECK(intact(result.lease));
    co_return true;
}

} // namespace terrace::test
