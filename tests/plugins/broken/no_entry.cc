// A library, but no plugin.
extern "C" int plugin_of_another_program() { return 0; }
