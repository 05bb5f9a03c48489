/* What OpenSSH for Windows does with a command (do_exec_windows in Win32-OpenSSH's w32-doexec.c): the raw text goes to
   cmd.exe inside one pair of quotes, unescaped, and its processes into a job that ends with the shell. */
#include <stdio.h>
#include <windows.h>

int main(void)
{
    static wchar_t raw[32768], line[32800], temp[1000];
    STARTUPINFOW startup = {sizeof startup};
    PROCESS_INFORMATION process;
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION limits = {0};
    HANDLE job = CreateJobObjectW(NULL, NULL), copy;
    DWORD status = 255;

    GetEnvironmentVariableW(L"RAW_COMMAND", raw, 32768);
    SetEnvironmentVariableW(L"RAW_COMMAND", NULL);
    GetEnvironmentVariableW(L"SESSION_TEMP", temp, 1000); /* Wine takes no TEMP from outside */
    SetEnvironmentVariableW(L"TEMP", temp);
    SetEnvironmentVariableW(L"TMP", temp);
    swprintf(line, 32800, L"\"C:\\windows\\system32\\cmd.exe\" /c \"%ls\"", raw);
    limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE | JOB_OBJECT_LIMIT_BREAKAWAY_OK;
    SetInformationJobObject(job, JobObjectExtendedLimitInformation, &limits, sizeof limits);
    if (!CreateProcessW(NULL, line, NULL, NULL, TRUE, CREATE_SUSPENDED, NULL, NULL, &startup, &process))
        return 254;
    AssignProcessToJobObject(job, process.hProcess);
    DuplicateHandle(GetCurrentProcess(), job, process.hProcess, &copy, 0, FALSE, DUPLICATE_SAME_ACCESS);
    CloseHandle(job);
    ResumeThread(process.hThread);
    WaitForSingleObject(process.hProcess, INFINITE);
    GetExitCodeProcess(process.hProcess, &status);
    ExitProcess(status);
}
