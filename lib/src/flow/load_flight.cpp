#include "flow/load_flight.hpp"

#include "base/assert.hpp"

#include <utility>

namespace terrace {

// ---- load_claims -----------------------------------------------------------------------------------------------

load_claims::one& load_claims::cell(std::size_t position)
{
    if (cells_.empty())
        cells_ = std::vector<one>(pending_.size());
    return cells_[position];
}

void load_claims::claim(loading_object& object, std::size_t position)
{
    one& c = cell(position);
    TERRACE_ASSERT(!c.is_linked()); // a key is loaded once
    c.of = this;
    c.on = &object;
    c.position = static_cast<std::uint32_t>(position);
    object.claims.push_back(c);
    ++object.flight.claims_;
    pending_.set(position);
}

void load_claims::give_up(if_unclaimed what)
{
    pending_.for_each_set([&](std::size_t position) {
        one& c = cells_[position];
        loading_object& object = *std::exchange(c.on, nullptr);
        object.claims.erase(object.claims.iterator_to(c));
        if (--object.flight.claims_ == 0 && what == if_unclaimed::stop)
            object.flight.stop();
    });
    pending_ = bitmap{pending_.size()};
}

// ---- flight_table ----------------------------------------------------------------------------------------------

loading_object* flight_table::find(const object_key& key, const memory_layout& layout)
{
    if (objects_.empty())
        return nullptr;
    auto it = objects_.find(key);
    return it == objects_.end() || it->layout != layout ? nullptr : &*it;
}

void flight_table::insert(loading_object& object)
{
    objects_.insert(object); // one under this key that is there already stays the one that others find
}

void flight_table::erase(loading_object& object) noexcept
{
    if (object.table_hook.is_linked())
        objects_.erase(objects_.iterator_to(object));
}

// ---- load_flight -----------------------------------------------------------------------------------------------

load_flight::load_flight(flight_table& table, l1_cache& l1, write_lease staged, memory_layout layout,
                         const bitmap& retained, bool keep_unclaimed, std::shared_ptr<admission_queue::share> admitted)
    : table_{table},
      l1_{l1},
      staged_{std::move(staged)},
      layout_{std::move(layout)},
      keep_unclaimed_{keep_unclaimed},
      admitted_{std::move(admitted)},
      objects_{staged_.size()}
{
    for (std::size_t i = 0; i < staged_.size(); ++i)
        objects_.emplace_back(*this, staged_.key(i), layout_).retained = retained.test(i);
    for (loading_object& object : objects_) // last: nothing would take them out again if this threw
        table_.insert(object);
}

load_flight::~load_flight()
{
    give_up_on_claims();
}

void load_flight::stop()
{
    for (loading_object& object : objects_)
        table_.erase(object); // it may end without them: whoever wants them loads them anew
    if (auto task = task_.lock())
        task->cancel();
}

void load_flight::settle(loading_object& object, bool came)
{
    table_.erase(object);
    while (!object.claims.empty()) {
        load_claims::one& c = object.claims.front();
        object.claims.pop_front();
        --claims_;
        c.on = nullptr;
        c.of->pending_.set(c.position, false);
        if (!came)
            c.of->failed_.set(c.position);
        c.of->notify();
    }
}

void load_flight::give_up_on_claims()
{
    for (loading_object& object : objects_)
        settle(object, false);
}

void load_flight::late()
{
    give_up_on_claims();
    admitted_.reset();
}

void load_flight::land(const bitmap& loaded)
{
    l1_cache::landing how;
    how.loaded = loaded;
    how.retained = bitmap{objects_.size()};
    how.keep_unclaimed = keep_unclaimed_;
    how.ends.reserve(objects_.size());
    for (std::size_t i = 0; i < objects_.size(); ++i) {
        how.retained.set(i, objects_[i].retained);
        for (const load_claims::one& c : objects_[i].claims)
            how.claims.push_back({&c.of->pins_, c.position});
        how.ends.push_back(static_cast<std::uint32_t>(how.claims.size()));
    }
    l1_.land(std::move(staged_), how);
    for (loading_object& object : objects_) {
        bool came = false;
        for (const load_claims::one& c : object.claims)
            came = c.of->pins_.present().test(c.position);
        settle(object, came);
    }
}

} // namespace terrace
