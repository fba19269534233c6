// Stored files that are damaged at random places: what was hit is a miss, what was not loads, and nothing loads wrong.
// TERRACE_DAMAGE_ROUNDS says how often; each round is a seed of its own.

#include "integration/adapter_world.hpp"

#include <cstdlib>
#include <map>
#include <random>
#include <string>

#include <terrace/file_adapter.hpp>
#include <terrace/file_inspection.hpp>
#include <terrace/segment_adapter.hpp>
#include <terrace/segment_inspection.hpp>

namespace fs = std::filesystem;
using namespace terrace;
using namespace terrace::test;

namespace {

struct files {
    static std::unique_ptr<l2_adapter> open(const fs::path& directory)
    {
        return std::make_unique<file_adapter>(file_options{directory});
    }
    static constexpr auto inspect = &inspect_file_store;
};
struct segments {
    static std::unique_ptr<l2_adapter> open(const fs::path& directory)
    {
        segment_options options{directory};
        options.segment_bytes = 64 << 10;
        return std::make_unique<segment_adapter>(options);
    }
    static constexpr auto inspect = &inspect_segment_store;
};

std::uint64_t rounds()
{
    const char* text = std::getenv("TERRACE_DAMAGE_ROUNDS");
    return text != nullptr ? std::strtoull(text, nullptr, 10) : 60;
}

/// Sizes that end on a block, in one, and right behind one.
std::size_t bytes_of_object(std::uint64_t n)
{
    constexpr std::array<std::size_t, 5> sizes{1, 1000, 4096, 8191, 16'385};
    return sizes.at(n % sizes.size());
}

using contents = std::map<fs::path, std::vector<char>>;

contents read_all(const fs::path& directory)
{
    contents all;
    for (const auto& entry : fs::recursive_directory_iterator{directory})
        if (entry.is_regular_file())
            all.emplace(entry.path(), bytes_of(entry.path()));
    return all;
}

/// Where an object's header and payload lie.
struct place {
    fs::path file;
    std::size_t offset = 0;
    std::size_t bytes = 0;
};

enum class fate { untouched, padding_hit, hit };

/// What has become of a place, and of the rest of its last block.
fate fate_of(const place& at, const contents& before, const contents& after)
{
    const auto& was = before.at(at.file);
    const auto found = after.find(at.file);
    const auto part = [&](const std::vector<char>& file, std::size_t bytes) {
        const std::span<const char> all{file};
        return all.subspan(std::min(at.offset, all.size()))
            .first(std::min(bytes, all.size() - std::min(at.offset, all.size())));
    };
    if (found == after.end() || !std::ranges::equal(part(was, at.bytes), part(found->second, at.bytes)))
        return fate::hit;
    const std::size_t padded = (at.bytes + block - 1) / block * block;
    return std::ranges::equal(part(was, padded), part(found->second, padded)) ? fate::untouched : fate::padding_hit;
}

/// Damages files at random: a few bits, an end cut off, bytes that are not theirs, bytes of another file.
class vandal {
public:
    vandal(std::uint64_t seed, const contents& files) : random_{seed}, files_{files} {}

    void strike()
    {
        const fs::path& path = any().first;
        const std::uint64_t size = fs::exists(path) ? fs::file_size(path) : 0;
        if (size == 0)
            return;
        const std::uint64_t at = random_() % size;
        switch (random_() % 5) {
        case 0:
        case 1:
            return flip_bit(path, at);
        case 2:
            return fs::resize_file(path, at);
        case 3: {
            std::vector<char> foreign(std::min<std::uint64_t>(size - at, 1 + random_() % 10'000));
            std::ranges::generate(foreign, [&] { return static_cast<char>(random_()); });
            return write_at(path, at, foreign);
        }
        default: {
            const std::vector<char>& other = any().second;
            const std::uint64_t from = other.empty() ? 0 : random_() % other.size() / block * block;
            const std::uint64_t to = at / block * block;
            write_at(
                path, to,
                std::span{other}.subspan(from, std::min<std::uint64_t>({other.size() - from, size - to, 5 * block})));
        }
        }
    }
    std::uint64_t below(std::uint64_t limit) { return random_() % limit; }

private:
    const contents::value_type& any()
    {
        return *std::next(files_.begin(), static_cast<std::ptrdiff_t>(random_() % files_.size()));
    }

    std::mt19937_64 random_;
    const contents& files_;
};

template <class Store>
struct damage_world : adapter_world<l2_adapter> {
    damage_world()
    {
        open();
        for (std::uint64_t n = 1; n <= objects; ++n)
            REQUIRE(put({key(n)}, bytes_of_object(n), n % 2 == 0).all());
        REQUIRE(erase(keys({7, 8})).all());
        adapter.reset();
    }
    void open() { adapter = Store::open(directory.path()); }

    void find_places()
    {
        places.clear();
        Store::inspect(directory.path(), [&](const inspected_object& object) {
            REQUIRE(object.problem.empty());
            const auto at = object.where.rfind(" at ");
            place& p = places[seed_of(*object.key) - 1];
            p.file = object.where.substr(0, at);
            p.offset = at == std::string::npos ? 0 : std::stoull(object.where.substr(at + 4));
            p.bytes = block + object.payload_bytes;
        });
        REQUIRE(places.size() == objects - 2);
    }
    void restore(const contents& pristine)
    {
        for (const auto& [path, bytes] : read_all(directory.path()))
            if (!pristine.contains(path))
                fs::remove(path);
        for (const auto& [path, bytes] : pristine)
            if (!fs::exists(path) || bytes_of(path) != bytes)
                write_file(path, bytes);
    }

    static constexpr std::uint64_t objects = 30;
    std::map<std::uint64_t, place> places;
};

} // namespace

TEST_CASE_TEMPLATE("damage anywhere in stored files: what is hit is a miss, the rest loads, nothing loads wrong", Store,
                   files, segments)
{
    damage_world<Store> w;
    SUBCASE("after a close()")
    {
        w.open();
        w.run(w.adapter->close());
        w.adapter.reset();
    }
    SUBCASE("after a crash") {}
    w.find_places();
    const contents pristine = read_all(w.directory.path());
    std::uint64_t hits = 0;
    for (std::uint64_t round = 1; round <= rounds(); ++round) {
        CAPTURE(round);
        w.restore(pristine);
        vandal hand{round, pristine};
        for (std::uint64_t blows = 1 + hand.below(6); blows != 0; --blows)
            hand.strike();
        const contents damaged = read_all(w.directory.path());

        w.open();
        for (const auto& [number, place] : w.places) {
            const std::uint64_t n = number; // for clang 14, a lambda's
            CAPTURE(n);
            const fate what = fate_of(place, pristine, damaged);
            const fate its_segment = fate_of({place.file, 0, block}, pristine, damaged); // or the same file's header
            const bool loaded = w.get({key(n)}, bytes_of_object(n), round % 2 == 0).all();
            if (what == fate::hit)
                CHECK(!loaded);
            else if (what == fate::untouched && its_segment == fate::untouched)
                CHECK(loaded);
            hits += what == fate::hit ? 1 : 0;
        }
        w.get(keys({7, 8}), bytes_of_object(7)); // back if it was the erasure that was hit
        CHECK(w.put(keys_to(1, 10), 1000).all());
        CHECK(w.get(keys_to(1, 10), 1000).all());
        CHECK(w.status().failed_stores == 0);
        w.adapter.reset();
    }
    CHECK(hits >= rounds() / 2);
}
