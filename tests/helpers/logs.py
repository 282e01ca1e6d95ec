"""A few rows of every format that is imported."""

LOGS = {}  # of every format, in few rows


def swf(job, submit, run, used=4, asked=-1, status=1, queue=1):
    return f"{job} {submit} 5 {run} {used} -1 -1 {asked} -1 -1 {status} 1 1 -1 {queue} -1 -1 -1\n"


LOGS["swf"] = (
    "; Version: 2.2\n;   Computer: José's\n; MaxNodes: 4 (of 2)\n;MaxProcs: 8\n"
    + swf(1, 10, 60)
    + swf(2, 20, 3600, 8)
)
LOGS["azure-llm"] = (
    "TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
    "2023-11-16 18:17:03.9799600,4000,10\r\n"
    "2023-11-16 18:17:04.9799600,110,400\r\n"
)
LOGS["mooncake"] = (
    '{"timestamp": 0, "input_length": 1600, "output_length": 4, "hash_ids": [0, 1, 2, 3]}\n'
    '{"timestamp": 3000, "input_length": 1100, "output_length": 500, "hash_ids": [0, 1, 9]}\n'
)
PODS = (
    "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time"
)
LOGS["alibaba-pods"] = (
    f"{PODS},scheduled_time\n"
    "a,12000,16384,1,1000,,LS,Running,0,100,0\n"
    "b,6000,12288,1,460,,LS,Running,50,160,60\n"
    "c,48000,0,0,0,,BE,Failed,80,99,90\n"
)
BUPT = ",,,,,,,{},{},x,{},{},,http://a/b?c=1,2,,,,,,\n"
LOGS["bupt-edge"] = "".join(
    BUPT.format(f"2015-08-01 00:00:{begin}", f"2015-08-01 00:00:{end}", up, down)
    for begin, end, up, down in (
        ("01.000000", "02.000000", 100, 100),
        ("05.500000", "15.500000", 300, 0),
        ("30.000000", "30.500000", 50, 0),
    )
)
LOGS["csv"] = "submit,end,cores,queue\n0,10,16,web\n5,6,64,batch\n"
MAP = "arrival_s=submit,duration_s=end-submit,demand=cores/64,job_class=queue"
SETTINGS = {"csv": {"map": [MAP]}}
