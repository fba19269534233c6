#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace terrace::apps {

/// An option of a command, or an argument that goes by its place.
class option_help {
public:
    std::vector<std::string> names; ///< as they are typed, short ones first; empty: it goes by its place
    std::string value;              ///< what stands for its value, as FILE, or its choices, as lru|none; empty: a flag
    std::string default_value;      ///< empty: there is none, or the description says what happens
    std::string description;        ///< one sentence, without a full stop
    std::string group;              ///< the heading that it stands under
    bool required = false;
    bool repeatable = false;

    [[nodiscard]] bool is_flag() const noexcept { return value.empty(); }
    [[nodiscard]] bool takes_file() const { return value == "FILE" || value == "PATH"; }
    [[nodiscard]] bool takes_directory() const { return value == "DIR"; }
    /// The words among `value`'s alternatives; those in capitals stand for something.
    [[nodiscard]] std::vector<std::string> choices() const;
};

/// The heading of what every command has: --help, and --version.
inline constexpr const char* general_group = "General options";

/// What there is to know about a command: help texts, man pages and shell completions are made of it.
class command_help {
public:
    std::string name;     ///< as it is typed, with the commands that it belongs to: "terrace bench l1"
    std::string summary;  ///< one line, without a full stop
    std::string details;  ///< what else there is to say; paragraphs, one a line; may be empty
    std::string examples; ///< a line with # that says what, and a line with the command, again and again
    std::vector<option_help> arguments;
    std::vector<option_help> options; ///< those of one group together
    std::vector<command_help> commands;

    [[nodiscard]] std::string last_name() const; ///< "l1"
    /// The command and all below it, each before those below it. They are parts of this object.
    [[nodiscard]] std::vector<const command_help*> all() const&;
    std::vector<const command_help*> all() const&& = delete;
    /// Whether there is more to say about it than the summary that its parent gives.
    [[nodiscard]] bool has_page() const;
    /// "terrace-bench", of the page that describes it.
    [[nodiscard]] std::string page_name() const;
};

/// Reads the description from the parser itself, so that it cannot be out of date. The first line of an app's
/// description is the summary, the others are details, and the footer has the examples. Options, commands and groups
/// without a group name are hidden.
[[nodiscard]] command_help describe(const CLI::App& app);

/// "terrace replay --trace FILE [OPTION...]"
[[nodiscard]] std::string usage(const command_help& help);

/// What --help prints. No line is longer than `columns`, unless a word is, or a line of an example.
[[nodiscard]] std::string to_text(const command_help& help, std::size_t columns = 80);

/// A page for man(1), in the man macros.
/// release  "terrace 0.1.0"
[[nodiscard]] std::string to_man_page(const command_help& help, const std::string& release);

/// A script that makes the shell complete commands, options and those values that are choices or files. `help` is the
/// whole program's.
[[nodiscard]] std::string to_bash_completion(const command_help& help);
[[nodiscard]] std::string to_zsh_completion(const command_help& help);
[[nodiscard]] std::string to_fish_completion(const command_help& help);

} // namespace terrace::apps
