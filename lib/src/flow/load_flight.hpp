#pragma once

#include "base/event.hpp"
#include "base/fixed_array.hpp"
#include "base/task_scope.hpp"
#include "flow/admission.hpp"
#include "flow/l2_locks.hpp"
#include "l1/l1_cache.hpp"

#include <boost/intrusive/list.hpp>
#include <boost/intrusive/unordered_set.hpp>
#include <memory>
#include <vector>

#include <terrace/bitmap.hpp>
#include <terrace/object_key.hpp>

namespace terrace {

class load_flight;
class loading_object;

/// The keys of a request that wait for a load: its own, or one that another request has begun. Destroying it gives the
/// claims up.
///
/// Threads: the engine's executor.
class load_claims {
public:
    /// pins  what lands is locked into; lives as long as this
    load_claims(l1_pins& pins, std::size_t keys) : pins_{pins}, pending_{keys}, failed_{keys} {}
    ~load_claims() { give_up(if_unclaimed::stop); }
    load_claims(const load_claims&) = delete;
    load_claims& operator=(const load_claims&) = delete;

    [[nodiscard]] const bitmap& pending() const noexcept { return pending_; }
    [[nodiscard]] const bitmap& failed() const noexcept { return failed_; } ///< did not come

    void claim(loading_object& object, std::size_t position);
    /// There is no hope for these keys: no load was begun, or there was no room.
    void fail(const bitmap& keys) { failed_ |= keys; }

    /// What becomes of a load that nobody waits for any more.
    enum class if_unclaimed {
        stop,   ///< it is asked to stop
        finish, ///< it may go on: what it brings is for others, if the policy says so
    };
    void give_up(if_unclaimed what);

    /// Whom to tell of each change; null: nobody.
    void attach(event* wake) noexcept { wake_ = wake; }
    /// Whether something has changed since this was asked last.
    [[nodiscard]] bool take_changed() noexcept { return std::exchange(changed_, false); }
    void notify()
    {
        changed_ = true;
        if (wake_ != nullptr)
            wake_->notify_all();
    }

private:
    friend class load_flight;
    friend class loading_object;
    /// One key's wait.
    struct one : boost::intrusive::list_base_hook<> {
        load_claims* of = nullptr;
        loading_object* on = nullptr;
        std::uint32_t position = 0;
    };
    [[nodiscard]] one& cell(std::size_t position);

    l1_pins& pins_;
    bitmap pending_;
    bitmap failed_;
    std::vector<one> cells_; // by position; empty until the first claim
    event* wake_ = nullptr;
    bool changed_ = false;
};

/// One object on its way into L1. Requests for the same object claim it instead of loading it again.
class loading_object {
public:
    loading_object(load_flight& f, const object_key& k, const memory_layout& l) : flight{f}, key{k}, layout{l} {}
    loading_object(const loading_object&) = delete;
    loading_object& operator=(const loading_object&) = delete;
    ~loading_object() { TERRACE_ASSERT(claims.empty()); }

    load_flight& flight;
    const object_key key;
    const memory_layout& layout;                              // the flight's
    bool retained = false;                                    // in L1 after its readers
    boost::intrusive::list<load_claims::one> claims;          // who waits for it
    boost::intrusive::unordered_set_member_hook<> table_hook; // linked: others find it
};

/// Every object on its way into L1, by key.
///
/// Threads: the engine's executor.
class flight_table {
public:
    flight_table() : buckets_(1024), objects_{table::bucket_traits{buckets_.data(), buckets_.size()}} {}

    /// The object of this key that is being loaded under this layout, or null.
    [[nodiscard]] loading_object* find(const object_key& key, const memory_layout& layout);
    [[nodiscard]] bool empty() const noexcept { return objects_.empty(); }

private:
    friend class load_flight;
    struct key_of_object {
        using type = object_key;
        const object_key& operator()(const loading_object& o) const noexcept { return o.key; }
    };
    using table = boost::intrusive::unordered_set<
        loading_object,
        boost::intrusive::member_hook<loading_object, boost::intrusive::unordered_set_member_hook<>,
                                      &loading_object::table_hook>,
        boost::intrusive::key_of_value<key_of_object>, boost::intrusive::hash<std::hash<object_key>>,
        boost::intrusive::power_2_buckets<true>>;

    void insert(loading_object& object);
    void erase(loading_object& object) noexcept;

    std::vector<table::bucket_type> buckets_;
    table objects_;
};

/// One adapter call that loads objects into L1, and who waits for them. The task that makes the call owns it.
///
/// Threads: the engine's executor.
class load_flight {
public:
    /// retained  by index in `staged`
    load_flight(flight_table& table, l1_cache& l1, write_lease staged, memory_layout layout, const bitmap& retained,
                bool keep_unclaimed, std::shared_ptr<admission_queue::share> admitted);
    ~load_flight();
    load_flight(const load_flight&) = delete;
    load_flight& operator=(const load_flight&) = delete;

    [[nodiscard]] std::size_t size() const noexcept { return objects_.size(); }
    [[nodiscard]] loading_object& operator[](std::size_t i) { return objects_[i]; }
    [[nodiscard]] const write_lease& staged() const noexcept { return staged_; }
    [[nodiscard]] const memory_layout& layout() const noexcept { return layout_; }

    /// The call's task, which is asked to stop when nobody waits any more.
    void runs_in(std::weak_ptr<task_scope::task> task) { task_ = std::move(task); }

    /// The load has not come in time: nobody shall wait for it, or find it, any longer.
    void give_up_on_claims();
    /// The load has missed its adapter's timeout: nobody shall wait for it any more, be it for its objects or its turn.
    void late();
    /// The load has ended: publishes what came for those who wait.
    void land(const bitmap& loaded);

private:
    friend class load_claims;
    /// Nobody waits for it any more: it is asked to stop, and nobody shall find it.
    void stop();
    void settle(loading_object& object, bool came);

    flight_table& table_;
    l1_cache& l1_;
    write_lease staged_;
    const memory_layout layout_;
    const bool keep_unclaimed_;
    std::shared_ptr<admission_queue::share> admitted_; // until the load has ended, or is late
    fixed_array<loading_object> objects_;
    std::size_t claims_ = 0; // on all of them
    std::weak_ptr<task_scope::task> task_;
};

} // namespace terrace
