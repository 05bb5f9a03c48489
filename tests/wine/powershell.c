/* Takes powershell.exe's place, which Wine has as an empty stub. It does what the programs of bot/transports/powershell.py
   say, for those programs only: it reads no PowerShell. A script is not run: NAME.cmd stands for it, or
   NAME.txt, which was recorded, in the session's own folder for temporary files or else in C:\standins. Processes, limits, trees and files are Wine's real ones. */
#include <windows.h> /* before the others, which need it */

#include <fcntl.h>
#include <io.h>
#include <stdio.h>
#include <tlhelp32.h>
#include <wchar.h>
#include <wincrypt.h>

#define INPUT_BYTES 4000000
#define PATH_CHARS 4096
#define TREE 256

static struct { char *key; wchar_t *text; } plan[200];
static int keys;
static wchar_t folder[PATH_CHARS];
static char *tool; /* a program that is brought along, in base64 */

static wchar_t *value(const char *key)
{
    for (int n = 0; n < keys; n++)
        if (!strcmp(plan[n].key, key))
            return plan[n].text;
    return L"";
}

static void *decoded(const char *text, DWORD *size)
{
    unsigned char *bytes = calloc(1, strlen(text) + 4);
    *size = strlen(text);
    CryptStringToBinaryA(text, 0, CRYPT_STRING_BASE64, bytes, size, NULL, NULL);
    memset(bytes + *size, 0, 4);
    return bytes;
}

static wchar_t *wide(const char *utf8)
{
    int size = MultiByteToWideChar(CP_UTF8, 0, utf8, -1, NULL, 0);
    wchar_t *text = calloc(size + 1, sizeof *text);
    MultiByteToWideChar(CP_UTF8, 0, utf8, -1, text, size);
    return text;
}

static char *narrow(const wchar_t *text)
{
    int size = WideCharToMultiByte(CP_UTF8, 0, text, -1, NULL, 0, NULL, NULL);
    char *utf8 = calloc(1, size + 1);
    WideCharToMultiByte(CP_UTF8, 0, text, -1, utf8, size, NULL, NULL);
    return utf8;
}

/* One remark; the whole line at once, since the limit's thread speaks too. */
static void say(FILE *where, const char *format, ...)
{
    static char line[20000];
    int size = sprintf(line, "%s ", narrow(value("say")));
    va_list more;
    va_start(more, format);
    size += vsnprintf(line + size, sizeof line - size - 2, format, more);
    va_end(more);
    strcpy(line + size, "\r\n");
    fputs(line, where);
    fflush(where);
}

static unsigned long long born(HANDLE process)
{
    FILETIME start = {0}, other;
    GetProcessTimes(process, &start, &other, &other, &other);
    return (unsigned long long)start.dwHighDateTime << 32 | start.dwLowDateTime;
}

/* The process *root* and all that descend from it, in *tree*. */
static int family(DWORD root, DWORD *tree)
{
    int count = 1, grown;
    HANDLE all = CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0);
    tree[0] = root;
    do {
        PROCESSENTRY32W each = {sizeof each};
        grown = 0;
        for (BOOL more = Process32FirstW(all, &each); more; more = Process32NextW(all, &each)) {
            int parent = 0, known = 0;
            for (int n = 0; n < count; n++) {
                parent |= tree[n] == each.th32ParentProcessID;
                known |= tree[n] == each.th32ProcessID;
            }
            if (parent && !known && count < TREE)
                tree[count++] = each.th32ProcessID, grown = 1;
        }
    } while (grown);
    CloseHandle(all);
    return count;
}

static void end_process(DWORD pid)
{
    HANDLE process = OpenProcess(PROCESS_TERMINATE | SYNCHRONIZE, FALSE, pid);
    if (process) {
        TerminateProcess(process, 0xFFFFFFFF);
        WaitForSingleObject(process, 3000);
        CloseHandle(process);
    }
}

static int empty(const wchar_t *path, unsigned long long *bytes)
{
    wchar_t each[PATH_CHARS];
    WIN32_FIND_DATAW found;
    int files = 0;
    HANDLE search;
    swprintf(each, PATH_CHARS, L"%ls\\*", path);
    if ((search = FindFirstFileW(each, &found)) == INVALID_HANDLE_VALUE)
        return -1;
    do {
        swprintf(each, PATH_CHARS, L"%ls\\%ls", path, found.cFileName);
        if (!(found.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY))
            files++, *bytes += found.nFileSizeLow, DeleteFileW(each);
        else if (*found.cFileName != '.')
            files += empty(each, bytes);
    } while (FindNextFileW(search, &found));
    FindClose(search);
    RemoveDirectoryW(path);
    return files;
}

static void remove_folder(const wchar_t *path, const char *word, FILE *where)
{
    unsigned long long bytes = 0;
    int files = empty(path, &bytes);
    if (files < 0)
        return;
    if (GetFileAttributesW(path) != INVALID_FILE_ATTRIBUTES)
        say(where, "stays %s", narrow(path));
    else
        say(where, "%s %d %llu %s", word, files, bytes / 1024, narrow(path));
}

/* Sets the events that a script's programs leave by, and gives them a moment. */
static void ask_to_leave(const wchar_t *place)
{
    wchar_t path[PATH_CHARS];
    char name[1000] = "";
    FILE *file;
    HANDLE event;
    int asked = 0;
    swprintf(path, PATH_CHARS, L"%ls\\leave", place);
    if (!*place || !(file = _wfopen(path, L"rb")))
        return;
    name[fread(name, 1, sizeof name - 1, file)] = 0;
    fclose(file);
    for (char *each = strtok(name, "\r\n"); each; each = strtok(NULL, "\r\n"))
        if ((event = OpenEventW(EVENT_MODIFY_STATE, FALSE, wide(each))))
            asked = SetEvent(event);
    for (int n = 0; asked && n < 25 && GetFileAttributesW(path) != INVALID_FILE_ATTRIBUTES; n++)
        Sleep(200);
}

static DWORD WINAPI limit(void *unused)
{
    DWORD tree[TREE];
    int count;
    (void)unused;
    Sleep(_wtoi(value("milliseconds")));
    say(stderr, "limit");
    ask_to_leave(folder);
    count = family(GetCurrentProcessId(), tree);
    while (--count > 0)
        end_process(tree[count]);
    if (*folder)
        remove_folder(folder, "removed", stderr);
    TerminateProcess(GetCurrentProcess(), 0xFFFFFFFF);
    return 0;
}

static int find_program(const wchar_t *name, wchar_t *path)
{
    for (const wchar_t **ending = (const wchar_t *[]){L".exe", L".bat", L".cmd", NULL}; *ending; ending++)
        if (SearchPathW(NULL, name, *ending, PATH_CHARS, path, NULL))
            return 1;
    return 0;
}

static DWORD run(wchar_t *line)
{
    STARTUPINFOW startup = {sizeof startup};
    PROCESS_INFORMATION process;
    DWORD status = 1;
    if (!CreateProcessW(NULL, line, NULL, NULL, TRUE, 0, NULL, NULL, &startup, &process)) {
        fprintf(stderr, "CreateProcess failed: %lu\r\n", GetLastError());
        return 1;
    }
    WaitForSingleObject(process.hProcess, INFINITE);
    GetExitCodeProcess(process.hProcess, &status);
    return status;
}

/* Where a script's stand-in lies: the session's own, else that of all. */
static int stand_in(const wchar_t *ending, wchar_t *path)
{
    GetTempPathW(PATH_CHARS, path);
    swprintf(path + wcslen(path), PATH_CHARS - wcslen(path), L"%ls.%ls", value("name"), ending);
    if (GetFileAttributesW(path) == INVALID_FILE_ATTRIBUTES)
        swprintf(path, PATH_CHARS, L"C:\\standins\\%ls.%ls", value("name"), ending);
    return GetFileAttributesW(path) != INVALID_FILE_ATTRIBUTES;
}

static DWORD script(void)
{
    static wchar_t path[PATH_CHARS], line[PATH_CHARS * 2];
    static char block[65536];
    size_t size;
    FILE *recorded;
    if (stand_in(L"cmd", path)) {
        swprintf(line, PATH_CHARS * 2, L"cmd.exe /d /c %ls", path);
        return run(line);
    }
    if (!stand_in(L"txt", path) || !(recorded = _wfopen(path, L"rb"))) {
        fprintf(stderr, "nothing stands for %ls here\r\n", value("name"));
        return 1;
    }
    while ((size = fread(block, 1, sizeof block, recorded)))
        fwrite(block, 1, size, stdout);
    fclose(recorded);
    return 0;
}

static void sweep(const wchar_t *place)
{
    wchar_t each[PATH_CHARS];
    WIN32_FIND_DATAW found;
    HANDLE search;
    swprintf(each, PATH_CHARS, L"%lscapturebot-*", place);
    if ((search = FindFirstFileW(each, &found)) == INVALID_HANDLE_VALUE)
        return;
    do {
        DWORD pid;
        unsigned long long start;
        HANDLE owner;
        if (swscanf(found.cFileName, L"capturebot-%lu-%llu-", &pid, &start) != 2)
            continue;
        owner = OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, FALSE, pid);
        swprintf(each, PATH_CHARS, L"%ls%ls", place, found.cFileName);
        if (!owner || born(owner) != start)
            remove_folder(each, "swept", stderr);
    } while (FindNextFileW(search, &found));
}

static void make_folder(char *told)
{
    wchar_t place[PATH_CHARS];
    char *utf8;
    DWORD size = PATH_CHARS * 4;
    GetTempPathW(PATH_CHARS, place);
    sweep(place);
    strcpy(told, "-");
    if (!*value("scratch"))
        return;
    swprintf(folder, PATH_CHARS, L"%lscapturebot-%lu-%llu-%ls", place, GetCurrentProcessId(), born(GetCurrentProcess()), value("say"));
    CreateDirectoryW(folder, NULL);
    SetEnvironmentVariableW(L"CAPTURE_SCRATCH", folder);
    utf8 = narrow(folder);
    CryptBinaryToStringA((BYTE *)utf8, strlen(utf8), CRYPT_STRING_BASE64 | CRYPT_STRING_NOCRLF, told, &size);
}

static void sum_of(const unsigned char *bytes, DWORD size, wchar_t *sum)
{
    HCRYPTPROV provider;
    HCRYPTHASH hash;
    BYTE value[32];
    DWORD length = sizeof value;
    CryptAcquireContextW(&provider, NULL, NULL, PROV_RSA_AES, CRYPT_VERIFYCONTEXT);
    CryptCreateHash(provider, CALG_SHA_256, 0, 0, &hash);
    CryptHashData(hash, bytes, size, 0);
    CryptGetHashParam(hash, HP_HASHVAL, value, &length, 0);
    for (DWORD n = 0; n < length; n++)
        swprintf(sum + 2 * n, 3, L"%02x", value[n]);
}

static void unpack(void)
{
    static wchar_t bin[PATH_CHARS], path[PATH_CHARS * 9];
    wchar_t sum[65] = L"";
    DWORD size;
    unsigned char *program;
    FILE *file;
    if (!tool)
        return;
    program = decoded(tool, &size);
    swprintf(bin, PATH_CHARS, L"%ls\\bin", folder);
    CreateDirectoryW(bin, NULL);
    swprintf(path, PATH_CHARS, L"%ls\\%ls", bin, value("toolname"));
    if ((file = _wfopen(path, L"wb"))) {
        fwrite(program, 1, size, file);
        fclose(file);
        sum_of(program, size, sum);
    }
    if (wcscmp(sum, value("toolsum"))) {
        say(stderr, "carried broken");
        return;
    }
    wcscpy(path, bin);
    wcscat(path, L";");
    GetEnvironmentVariableW(L"PATH", path + wcslen(path), PATH_CHARS * 8);
    SetEnvironmentVariableW(L"PATH", path);
}

static void add_path(void)
{
    static wchar_t path[PATH_CHARS * 9];
    GetEnvironmentVariableW(L"PATH", path, PATH_CHARS * 8);
    wcscat(path, L";");
    wcscat(path, value("path"));
    SetEnvironmentVariableW(L"PATH", path);
}

static int look(void)
{
    wchar_t path[PATH_CHARS], machine[40] = L"";
    GetEnvironmentVariableW(L"PROCESSOR_ARCHITECTURE", machine, 40);
    add_path();
    say(stdout, "machine %s", narrow(machine));
    for (wchar_t *name = wcstok(value("names"), L"\n"); name; name = wcstok(NULL, L"\n"))
        if (SearchPathW(NULL, name, NULL, PATH_CHARS, path, NULL))
            say(stdout, "has %s", narrow(name));
    return 0;
}

/* A real gzip file, of blocks that are stored as they are. */
static void squeeze(const wchar_t *path, const wchar_t *packed)
{
    static unsigned char block[65535];
    FILE *source = _wfopen(path, L"rb"), *goal = _wfopen(packed, L"wb");
    unsigned int crc = ~0u, total = 0, size, table[256];
    for (unsigned int n = 0; n < 256; n++) {
        table[n] = n;
        for (int bit = 0; bit < 8; bit++)
            table[n] = table[n] >> 1 ^ (table[n] & 1 ? 0xEDB88320 : 0);
    }
    fwrite("\x1f\x8b\x08\0\0\0\0\0\0\xff", 1, 10, goal);
    while ((size = fread(block, 1, sizeof block, source))) {
        unsigned char head[5] = {0, size, size >> 8, ~size, ~size >> 8};
        fwrite(head, 1, 5, goal);
        fwrite(block, 1, size, goal);
        total += size;
        for (unsigned int n = 0; n < size; n++)
            crc = crc >> 8 ^ table[(crc ^ block[n]) & 255];
    }
    crc = ~crc;
    fwrite("\1\0\0\xff\xff", 1, 5, goal);
    fwrite(&crc, 1, 4, goal);
    fwrite(&total, 1, 4, goal);
    fclose(source);
    fclose(goal);
    DeleteFileW(path);
}

static void offer_file(int status)
{
    wchar_t path[PATH_CHARS], packed[PATH_CHARS];
    const char *ending = "";
    WIN32_FILE_ATTRIBUTE_DATA about;
    ULARGE_INTEGER room, total;
    long long size = -1;
    printf("%s end", narrow(value("say")));
    fflush(stdout);
    swprintf(path, PATH_CHARS, L"%ls\\%ls", folder, value("file"));
    if (GetFileAttributesExW(path, GetFileExInfoStandard, &about))
        size = (long long)about.nFileSizeHigh << 32 | about.nFileSizeLow;
    GetDiskFreeSpaceExW(folder, &room, &total, NULL);
    if (*value("squeeze") && size > 65536) {
        swprintf(packed, PATH_CHARS, L"%ls.gz", path);
        squeeze(path, packed);
        wcscpy(path, packed);
        ending = ".gz";
        GetFileAttributesExW(path, GetFileExInfoStandard, &about);
        size = (long long)about.nFileSizeHigh << 32 | about.nFileSizeLow;
    }
    say(stderr, "file %d %lld %llu %llu %s", status, size, room.QuadPart, total.QuadPart, ending);
    while (size >= 0 && GetFileAttributesW(path) != INVALID_FILE_ATTRIBUTES)
        Sleep(100);
}

static int step(void)
{
    static wchar_t path[PATH_CHARS], line[40000];
    static char told[PATH_CHARS * 4];
    DWORD status;
    add_path();
    for (wchar_t *name = wcstok(value("needs"), L"\n"); name; name = wcstok(NULL, L"\n"))
        if (!find_program(name, path)) {
            say(stderr, "missing %s", narrow(name));
            return 127;
        }
    if (*value("program")) {
        find_program(value("program"), path);
        if (_wcsicmp(path + wcslen(path) - 4, L".exe")) {
            say(stderr, "batch %s", narrow(value("program")));
            return 127;
        }
    }
    make_folder(told);
    unpack();
    for (int n = 0; n < keys; n++)
        if (!strncmp(plan[n].key, "env.", 4))
            SetEnvironmentVariableW(wide(plan[n].key + 4), plan[n].text);
    CreateThread(NULL, 0, limit, NULL, 0, NULL);
    say(stderr, "pid %lu %llu %s", GetCurrentProcessId(), born(GetCurrentProcess()), told);
    swprintf(line, 40000, L"\"%ls\" %ls", path, value("line")); /* as .NET puts the two together */
    status = *value("program") ? run(line) : script();
    fflush(stdout);
    if (*value("file"))
        offer_file(status);
    if (*folder)
        remove_folder(folder, "removed", stderr);
    say(stderr, "status %d", (int)status);
    return status;
}

static int end(void)
{
    DWORD tree[TREE], pid = _wtoi(value("pid"));
    HANDLE root = OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION | SYNCHRONIZE, FALSE, pid);
    int count = 0, left = 0;
    if (root && born(root) == (unsigned long long)_wcstoui64(value("start"), NULL, 10) && WaitForSingleObject(root, 0) == WAIT_TIMEOUT) {
        ask_to_leave(value("folder"));
        count = family(pid, tree);
        for (int n = 0; n < count; n++)
            end_process(tree[n]);
    }
    for (int n = 0; n < count; n++) {
        HANDLE process = OpenProcess(SYNCHRONIZE, FALSE, tree[n]);
        if (process && WaitForSingleObject(process, 0) == WAIT_TIMEOUT)
            say(stdout, "left %lu unknown", tree[n]), left = 1;
    }
    if (!left)
        say(stdout, "gone %d", count);
    if (*value("folder"))
        remove_folder(value("folder"), "removed", stdout);
    return 0;
}

/* What a policy forbids: the file held-WHAT is in the session's folder for temporary files. */
static int held(const char *what)
{
    wchar_t path[PATH_CHARS];
    GetTempPathW(PATH_CHARS, path);
    swprintf(path + wcslen(path), PATH_CHARS - wcslen(path), L"held-%hs", what);
    return GetFileAttributesW(path) != INVALID_FILE_ATTRIBUTES;
}

int wmain(int argc, wchar_t **argv)
{
    static char input[INPUT_BYTES];
    size_t size;
    DWORD bytes;
    char *program, *more;
    _setmode(0, _O_BINARY);
    _setmode(1, _O_BINARY);
    _setmode(2, _O_BINARY);
    if (argc < 3)
        return 64;
    if (!wcscmp(argv[argc - 1], L"capturebot")) /* -Command Write-Output capturebot */
        return held("everything") ? 1 : puts("capturebot\r") < 0;
    if (wcscmp(argv[argc - 2], L"-EncodedCommand") || held("everything") || held("encoded"))
        return 64;
    if (wcsstr(decoded(narrow(argv[argc - 1]), &bytes), L"LanguageMode"))
        return printf("capturebot %s 5.1.17763.1\r\n", held("language") ? "ConstrainedLanguage" : "FullLanguage") < 0;
    if (held("language") || held("sshd") || !wcsstr(decoded(narrow(argv[argc - 1]), &bytes), L"@($input)"))
        return 64;
    size = fread(input, 1, INPUT_BYTES - 1, stdin);
    input[size] = 0;
    program = decoded(strtok_s(input, "\r\n", &more), &bytes);
    for (char *line; (line = strtok_s(NULL, "\r\n", &more)) && strcmp(line, "whole") && keys < 200; keys++) {
        char *text = strchr(line, ' ');
        *text = 0;
        if (!strcmp(line, "tool")) {
            tool = text + 1;
            keys--;
            continue;
        }
        plan[keys].key = line;
        plan[keys].text = wide(decoded(text + 1, &bytes));
    }
    if (!strncmp(program, "# capturebot: step\n", 19))
        return step();
    if (!strncmp(program, "# capturebot: end\n", 18))
        return end();
    if (!strncmp(program, "# capturebot: look\n", 19))
        return look();
    if (!strncmp(program, "# capturebot: examine\n", 22)) {
        say(stdout, "user False WINE\\capture");
        say(stdout, "version 5.1.0 6.1.7601");
        say(stdout, "rights event-log");
        say(stdout, "temp 40000000000 128000000000 C:\\windows\\temp\\");
        say(stdout, "pages 65001 850 1252");
        return 0;
    }
    return 65;
}
