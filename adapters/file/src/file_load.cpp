#include <fmt/format.h>

#include "file_adapter_impl.hpp"

namespace terrace {

namespace condition = boost::system::errc;

/// The items of a load, each from its open file to its checked bytes.
class file_adapter::impl::load_batch final : public io::staged_work {
public:
    load_batch(impl& owner, std::span<const load_item> items)
        : owner_{owner},
          items_{items},
          open_(items.size()),
          loaded_(items.size())
    {
    }

    std::optional<io::transfer> begin(std::size_t i) override;
    void end(std::size_t i, const io::transfer& done) override;

    [[nodiscard]] const answers& loaded() const noexcept { return loaded_; }

private:
    /// From begin() to end().
    struct open_file {
        io::unique_fd file;
        file::file_facts facts;
        std::unique_ptr<file::aligned_header> header;
        bool direct = false;
    };

    void fail(std::size_t i, const boost::system::error_code& why);

    impl& owner_;
    const std::span<const load_item> items_;
    std::vector<open_file> open_;
    answers loaded_;
};

std::optional<io::transfer> file_adapter::impl::load_batch::begin(std::size_t i)
{
    const load_item& item = items_[i];
    const std::string path = file::path_of(item.key);
    result<file::open_object> found = owner_.directory_.open(path);
    if (!found) {
        fail(i, found.error());
        return std::nullopt;
    }
    if (found->facts.bytes != file::header_bytes + item.bytes.size()) {
        owner_.last_load_failed_ = false;
        owner_.remove_damaged(item.key, path, found->facts);
        return std::nullopt;
    }
    open_file& o = open_[i];
    o.file = std::move(found->file);
    o.facts = found->facts;
    o.header = std::make_unique<file::aligned_header>();
    o.direct = owner_.make_direct(o.file, item.bytes);
    return io::transfer::read(o.file.get(), 0, o.header->page, item.bytes);
}

/// Removes the object if it is not as it was stored.
void file_adapter::impl::load_batch::end(std::size_t i, const io::transfer& done)
{
    const load_item& item = items_[i];
    const open_file o = std::move(open_[i]);
    io::transfer t = done;
    if (o.direct && t.error() == condition::invalid_argument) {
        t = io::transfer::read(o.file.get(), 0, o.header->page, item.bytes);
        owner_.perform_buffered(o.file, done, t);
    }
    if (t.error()) {
        fail(i, t.error());
        return;
    }
    owner_.last_load_failed_ = false;
    if (t.bytes() == o.facts.bytes && o.header->page == file::make_header(item.key, item.layout, item.bytes))
        loaded_[i] = 1;
    else
        owner_.remove_damaged(item.key, file::path_of(item.key), o.facts);
}

void file_adapter::impl::load_batch::fail(std::size_t i, const boost::system::error_code& why)
{
    if (why == condition::operation_canceled)
        return;
    if (why == condition::no_such_file_or_directory) {
        owner_.look_on_disk(items_[i].key); // gone since the lookup: a miss, not a failure
        return;
    }
    owner_.last_load_failed_ = true;
    if (io::is_media_error(why))
        owner_.note_unreadable(items_[i].key);
    owner_.note_problem(fmt::format("loading {}: {}", file::path_of(items_[i].key), why.message()));
}

asio::awaitable<bitmap> file_adapter::impl::load(std::span<const load_item> items)
{
    const operation running{shared_from_this()};
    load_batch batch{*this, items};
    co_await disk_->run(items.size(), batch);
    touch(items, batch.loaded());
    co_return file::to_bitmap(batch.loaded());
}

void file_adapter::impl::touch(std::span<const load_item> items, const answers& loaded)
{
    const std::lock_guard lock{mutex_};
    for (std::size_t i = items.size(); i-- != 0;) // as in unlock()
        if (loaded[i] != 0)
            index_.touch(items[i].key);
}

} // namespace terrace
