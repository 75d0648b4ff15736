import sys,time
from lra.check import *
from lra.check.runner import Subjects
from lra.models.attention import VARIANTS
names=sys.argv[1].split(',') if len(sys.argv)>1 else list(VARIANTS)
only=sys.argv[2].split(',') if len(sys.argv)>2 else list(CHECKS)
for n in names:
    T=time.time(); s=Subjects(VARIANTS[n]); line=[]
    for c in only:
        t=time.time(); r=run_check(CHECKS[c],s); line.append(f"{c} {time.time()-t:.1f}")
        if r.status!="holds": print("  ",n,r.check,r.status,*r.details)
    print(n,round(time.time()-T,1),', '.join(line))
